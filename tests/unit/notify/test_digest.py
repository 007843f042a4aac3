"""Too much at once: what a chat is told in one message, and that nobody is left out."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerting.crowd import CROWD, WINDOW_SECONDS, Crowd
from exporter.alerting.notification import Notification, Severity, Transition
from exporter.notify.digest import DIGEST_SECONDS, MOST_CHARACTERS, digest, that_fit
from exporter.notify.pending import Policy, Queue, Verdict
from exporter.notify.receiver import DeliveryError, Pace, Reason
from exporter.notify.slack_message import payload
from exporter.notify.superseding import Pending, told_as
from tests.support.notifications import notification

BUSY = DeliveryError(Reason.RATE_LIMITED, "slow down", retry_after=5)
LOST = DeliveryError(Reason.TIMEOUT, "late", ambiguous=True)
BAD = DeliveryError(Reason.PAYLOAD, "bad", permanent=True)
RESOLVED = Transition.RESOLVED


def of_server(server: str, transition: Transition = Transition.OPENED, **changes) -> Notification:
    values = {"server": server, "dedup_key": server, "digest": True}
    return notification(transition, f"incident-{server}", **(values | changes))


def pending(id_: int, server: str, since: float = 0.0, **changes) -> Pending:
    return Pending(id_, of_server(server, **changes), since)


def slack_queue() -> Queue:
    return Queue(Policy(Pace(per_second=1.0), tells_missed=True), lambda: 0.5)


def ids(found: Pending | None) -> list[int]:
    return [] if found is None else [each.id for each in found.all]


def test_the_fourth_incident_within_ten_seconds_begins_a_crowd():
    crowd = Crowd()
    marked: list[tuple[str, Notification]] = []
    for number in range(6):
        both = [(receiver, of_server(f"db-{number}")) for receiver in ("pager", "slack")]
        marked += crowd.marked(both, {"slack"}, 100.0 + number)
    assert [told.digest for name, told in marked if name == "slack"] == [False] * CROWD + [True] * 3
    assert not any(told.digest for name, told in marked if name == "pager")
    later = crowd.marked([("slack", of_server("db-9"))], {"slack"}, 105 + WINDOW_SECONDS)
    assert not later[0][1].digest


def test_one_incident_that_escalates_is_no_crowd():
    crowd = Crowd()
    for second in range(9):
        (marked,) = crowd.marked([("slack", of_server("db"))], {"slack"}, float(second))
        assert not marked[1].digest


def test_three_incidents_that_escalate_are_no_crowd_either():
    crowd = Crowd()
    for number in (0, 1, 2, 0, 1, 2):
        (marked,) = crowd.marked([("slack", of_server(f"db-{number}"))], {"slack"}, 5.0)
        assert not marked[1].digest


def test_a_digest_gathers_for_two_seconds_and_then_goes_in_one_message():
    q = slack_queue()
    q.add(Pending(1, of_server("alone", digest=False), 0.0))
    q.add(pending(2, "a", 0.0))
    q.add(pending(3, "b", 1.0))
    assert ids(q.next(0.0)) == [1]
    q.delivered()
    assert q.next(DIGEST_SECONDS - 0.1) is None
    assert q.wake_at(1.0) == DIGEST_SECONDS
    assert ids(q.next(DIGEST_SECONDS)) == [2, 3]
    assert len(q) == 2
    q.add(pending(4, "c", 2.5))
    q.delivered()
    assert ids(q.next(4.4)) == []
    assert ids(q.next(4.5)) == [4]


def test_one_alone_is_told_as_ever():
    q = slack_queue()
    q.add(pending(1, "a"))
    found = q.next(DIGEST_SECONDS)
    assert found is not None
    assert told_as(found).headline == "pg-prod-1: 83/97 slots used (incident-a, opened)"


def test_what_was_refused_together_is_tried_together_and_lost_by_nobody():
    q = slack_queue()
    for number in range(5):
        q.add(pending(number, f"db-{number}"))
    assert ids(q.next(2.0)) == [0, 1, 2, 3, 4]
    q.add(pending(9, "db-3", transition=RESOLVED))
    assert q.failed(LOST, 2.0) == (Verdict.RETRY, (3,))
    again = q.next(10.0)
    assert sorted(ids(again)) == [0, 1, 2, 4, 9]
    assert again is not None
    assert all(each.maybe_seen and each.attempts == 2 for each in again.all if each.id != 9)
    q.delivered()
    assert len(q) == 0


def test_a_digest_that_is_malformed_is_sent_once_more_as_bare_text():
    q = slack_queue()
    q.add(pending(1, "a"))
    q.add(pending(2, "b"))
    q.next(2.0)
    assert q.failed(BAD, 2.0) == (Verdict.RETRY, ())
    found = q.next(10.0)
    assert found is not None
    assert found.minimal
    assert q.failed(BAD, 10.0)[0] is Verdict.DEAD
    assert len(q) == 0


def test_a_receiver_that_asks_to_wait_gets_the_digest_later():
    q = slack_queue()
    q.add(pending(1, "a"))
    q.add(pending(2, "b"))
    q.next(2.0)
    q.failed(BUSY, 2.0)
    assert q.next(6.9) is None
    assert len(ids(q.next(8.0))) == 2


def test_a_digest_says_what_came_what_went_and_where():
    told = digest([
        of_server("a", severity=Severity.WARNING, family="reachability"),
        of_server("b", family="reachability"),
        of_server("c", family="reachability"),
        of_server("c", RESOLVED),
    ])  # fmt: skip
    assert told.headline == "CRITICAL 4 incidents on 3 servers at once, 1 of them resolved"
    assert [(group.title, group.servers) for group in told.groups] == [
        ("New, critical, reachability", ("b", "c")),
        ("Resolved, critical, connections", ("c",)),
        ("New, warning, reachability", ("a",)),
    ]
    assert Notification.from_json(told.to_json()) == told
    ended = digest([of_server("a", RESOLVED), of_server("b", RESOLVED)])
    assert ended.headline == "RESOLVED 2 incidents on 2 servers at once"
    assert ended.transition is RESOLVED


NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=200, unique=True), st.booleans())
def test_every_name_is_in_some_message_and_no_message_is_too_large(names, minimal):
    left = [of_server(name) for name in names]
    text = ""
    while left:
        count = that_fit(left)
        assert count >= 1
        message = payload(digest(left[:count]), addresses=False, minimal=minimal)
        blocks = message.get("blocks", [])
        assert len(blocks) <= 50
        texts = [block["text"]["text"] for block in blocks if block["type"] == "section"]
        assert all(len(each) <= 3000 for each in texts)
        assert len(json.dumps(message, ensure_ascii=False)) < 3 * MOST_CHARACTERS
        text += "\n".join([*texts, message["text"] if minimal else ""])
        left = left[count:]
    shown = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    for name in names:
        assert " ".join(name.replace("`", "'").split()) in shown


def test_two_hundred_servers_are_one_message_that_names_them_all():
    q, names = slack_queue(), [f"orders-production-{number:03}" for number in range(200)]
    for number, name in enumerate(names):
        q.add(pending(number, name))
    found = q.next(DIGEST_SECONDS)
    assert found is not None
    assert len(found.all) == 200
    message = payload(told_as(found), addresses=False)
    assert len(message["blocks"]) < 6
    assert all(name in json.dumps(message) for name in names)


def test_flapping_is_said():
    text = json.dumps(payload(notification(flapping=True), addresses=False))
    assert "It comes and goes" in text
    assert "It comes and goes" not in json.dumps(payload(notification(), addresses=False))
