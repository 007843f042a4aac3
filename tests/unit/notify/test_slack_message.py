from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.notification import Notification, Situation, Transition
from exporter.notify.slack_message import code, payload
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.holders import Holder, IdleTransaction
from tests.support.notifications import ALERT, SITUATION, notification

IDLE = "idle in transaction"
NASTY = "<!channel> <@U1> `rm`\n\r\x00\u202e\"'|>&*_~ <https://evil.example|click>"
names = st.text(max_size=63) | st.sampled_from([NASTY, "&" * 63, "<" * 63, "`" * 63, ""])
holders = st.builds(
    Holder, names, names, names, st.integers(0, 999), st.integers(0, 999), names, st.integers(0, 9)
)
idle = st.builds(IdleTransaction, st.floats(0, 1e6), st.none() | st.just(1), names, names, names)
ages = st.none() | st.floats(0, 1e6)
blockers = st.builds(
    Blocker, st.integers(0, 1 << 22), names, names, names, names, names, ages, ages,
    st.integers(1, 100),
)  # fmt: skip
situations = st.builds(
    Situation,
    arithmetic=names,
    rate=names,
    time_left=names,
    states=st.dictionaries(names, st.integers(0, 99), max_size=5),
    holders=st.lists(holders, max_size=30).map(tuple),
    growers=st.lists(holders, max_size=9).map(tuple),
    growth_window_seconds=st.floats(0, 1e5),
    idle_transaction=st.none() | idle,
    limits=st.lists(names, max_size=9).map(tuple),
    blockers=st.lists(blockers, max_size=9).map(tuple),
    waiting=st.integers(0, 9),
    data_age_seconds=st.floats(0, 1e6),
    failure=names,
)
notifications = st.builds(
    lambda transition, situation, text: notification(
        transition,
        situation=situation,
        headline=text * 3,
        source=text,
        alerts=(replace(ALERT, description=text * 9, action=text * 9, alertname=text),) * 3,
    ),
    st.sampled_from(Transition),
    situations,
    names,
)


def texts(message) -> list[str]:
    """Every text object of the message."""
    found = [message["text"]]
    for block in message.get("blocks", ()):
        found += [each["text"] for each in (block.get("text"), *block.get("elements", ())) if each]
    return found


def said(message) -> str:
    return "\n".join(texts(message))


@given(notifications, st.booleans(), st.booleans())
def test_nothing_that_a_client_chose_is_markup_or_too_long(made, addresses, minimal):
    message = payload(made, addresses=addresses, minimal=minimal)
    blocks = message.get("blocks", [])
    assert len(blocks) <= 50
    assert sum(map(len, texts({"text": "", "blocks": blocks}))) < 3000
    assert 0 < len(message["text"]) < 3000
    for block in blocks:
        if block["type"] == "header":
            assert 0 < len(block["text"]["text"]) <= 150
    for text in texts(message):
        ours = re.sub(
            r"<https://(example\.com|pgheadroom\.example\.com)[^ <>|]*\|(Runbook|pgheadroom)>",
            "",
            text,
        )
        assert not re.search(r"[<>]|&(?!(amp|lt|gt);)", ours)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text)
    json.dumps(message).encode("ascii")


@given(names)
def test_code_span_has_exactly_its_own_backticks(name):
    span = code(name)
    assert span[0] == span[-1] == "`"
    assert "`" not in span[1:-1]
    assert "\n" not in span


def test_names_are_verbatim_and_in_code_spans():
    nasty = replace(SITUATION, holders=(Holder("<!channel>", "<@U1>", "`x`", 5),), growers=())
    message = payload(notification(situation=nasty), addresses=False)
    assert "`&lt;!channel&gt; (&lt;@U1&gt; on 'x')`: 5" in said(message)
    sections = [each["text"] for each in message["blocks"] if each["type"] == "section"]
    assert all(each["verbatim"] for each in sections)


def test_page_says_what_one_needs_at_night():
    message = payload(notification(), addresses=False)
    text = said(message)
    assert message["text"] == "pg-prod-1: 83/97 slots used (one, opened)"
    for part in (
        "83 of 97 usable slots, 86 %; max 100, 3 reserved",
        "+2.6 a second; full in under 10 s at the current rate",
        "51 active, 30 idle, 2 idle in transaction, 4 waiting",
        "`checkout (app on shop)`: 60",
        "*Fastest growers in 1 min*\n• `checkout (app on shop)`: +41, now 60",
        "*Oldest idle transaction*\n7 min 4 s, pid 4711, `worker (app on shop)`",
        "Find what grows",
        "<https://example.com/runbooks/slots?a=1&amp;b=2|Runbook>",
        "<https://pgheadroom.example.com/|pgheadroom>",
        "Firing: PgHeadroomSlotsCritical (critical)",
    ):
        assert part in text
    assert "numbers are" not in text


def test_old_numbers_are_said_to_be_old():
    old = replace(SITUATION, data_age_seconds=75, failure="no slot is left")
    text = said(payload(notification(situation=old), addresses=False))
    assert "Polls fail: no slot is left" in text
    assert "1 min 15 s old" in text


def test_resolve_says_what_it_came_to():
    text = said(payload(notification(Transition.RESOLVED), addresses=False))
    for part in ("3 min 5 s", "97 of 97", "headroom: 0", "Clients were refused", "Fired: "):
        assert part in text
    assert "Top holders" not in text


@pytest.mark.parametrize("minimal", [True, False])
def test_addresses_only_where_the_operator_allows_them(minimal):
    assert "10.0.0." not in said(payload(notification(), addresses=False, minimal=minimal))
    allowed = said(payload(notification(), addresses=True, minimal=minimal))
    assert ("60, from `10.0.0.7` and 11 more" in allowed) is not minimal
    assert ("10.0.0.8" in allowed) is not minimal


def test_minimal_is_text_alone():
    message = payload(notification(), addresses=True, minimal=True)
    assert list(message) == ["text"]
    assert "86 %" in message["text"]


def test_links_that_are_no_web_addresses_are_left_out():
    for url in ("javascript:alert(1)", "https://a|b> <!channel>", "https://a\nb", "https://é"):
        made = notification(link=url, alerts=(replace(ALERT, runbook_url=url),))
        assert not re.search(r"<[^>]*\|", said(payload(made, addresses=False)))


def test_a_test_says_so():
    assert (
        payload(notification(Transition.TEST, headline="hello"), addresses=False)["text"]
        == "TEST: hello"
    )


def test_headline_is_the_fallback_even_when_everything_else_is_missing():
    bare = notification(situation=Situation(), alerts=(), source="", link="")
    assert payload(bare, addresses=False)["text"].startswith("pg-prod-1: 83/97")


@given(notifications)
def test_notifications_survive_the_outbox(made):
    assert Notification.from_json(made.to_json()) == made


def test_empty_headline_is_replaced():
    message = payload(notification(headline=" \n"), addresses=False)
    assert message["text"] == "pg-prod-1: connections opened"


def test_it_names_who_blocks_others_and_the_limit_that_binds():
    situation = replace(
        SITUATION,
        limits=("role app: 46 of 50, 92 %",),
        blockers=(
            Blocker(4711, "app", "checkout", "shop", "10.0.0.7", IDLE, 50.0, 42.0, 12),
            Blocker(0, "", "", "", "", "", None, None, 3),
        ),
    )
    text = said(payload(notification(situation=situation), addresses=False))
    assert "role app: 46 of 50, 92 %" in text
    assert (
        "• pid 4711 `checkout (app on shop)`, idle in transaction 42 s, blocks 12\n"
        "• a prepared transaction (pg_prepared_xacts), blocks 3"
    ) in text
    assert "10.0.0.7" not in text.partition("Blocking others")[2]
    shown = said(payload(notification(situation=situation), addresses=True))
    assert "blocks 12, from `10.0.0.7`" in shown
