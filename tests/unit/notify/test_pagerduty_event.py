from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.notification import Severity, Situation, Transition
from exporter.notify.pagerduty import MOST_BYTES, encoded, event
from exporter.snapshot.holders import Holder
from tests.support.notifications import ALERT, SITUATION, notification


def made(
    transition=Transition.OPENED, action="trigger", *, addresses=False, minimal=False, **changes
):
    told = notification(transition, **changes)
    return event(told, "the-key", action, addresses=addresses, minimal=minimal)


def test_trigger_has_what_the_api_asks_for():
    found = made()
    payload = found["payload"]
    assert {name: found[name] for name in ("routing_key", "event_action", "dedup_key")} == {
        "routing_key": "the-key",
        "event_action": "trigger",
        "dedup_key": "key-one",
    }
    assert payload["summary"] == "pg-prod-1: 83/97 slots used (one, opened)"
    assert payload["source"] == "pg-prod-1"
    assert payload["severity"] == "critical"
    assert payload["timestamp"] == "2023-11-14T22:15:00.500+00:00"
    assert payload["group"] == "connections"
    assert payload["class"] == "PgHeadroomSlotsCritical"
    assert found["client"] == "watcher-1, pgheadroom 0.1.0"
    assert found["client_url"] == "https://pgheadroom.example.com/"
    assert [link["text"] for link in found["links"]] == ["Runbook", "pgheadroom"]


def test_details_read_like_a_page():
    details = made()["payload"]["custom_details"]
    assert details["arithmetic"] == "83 of 97 usable slots, 86 %; max 100, 3 reserved"
    assert details["states"] == "51 active, 30 idle, 2 idle in transaction"
    assert details["holders"] == ["checkout (app on shop): 60", "reports (bi on shop): 20"]
    assert details["growers"] == ["checkout (app on shop): +41, now 60"]
    assert details["oldest_idle_transaction"] == "7 min 4 s, pid 4711, worker (app on shop)"
    assert details["next_action"] == [ALERT.action]
    assert details["alerts"] == [f"PgHeadroomSlotsCritical (critical): {ALERT.summary}"]


@pytest.mark.parametrize("severity", Severity)
def test_severities_are_the_vendors_words(severity):
    word = made(severity=severity)["payload"]["severity"]
    assert word == severity.value
    assert word in {"critical", "error", "warning", "info"}


def test_resolve_says_what_it_came_to():
    found = made(Transition.RESOLVED, "resolve")
    assert found["event_action"] == "resolve"
    assert found["dedup_key"] == "key-one"
    assert "Lasted 3 min 5 s" in found["payload"]["custom_details"]["resolution"]
    assert "Clients were refused" in found["payload"]["custom_details"]["resolution"]


def test_a_test_wakes_nobody():
    payload = made(Transition.TEST, headline="hello")["payload"]
    assert (payload["severity"], payload["summary"]) == ("info", "TEST: hello")


def test_addresses_only_where_the_operator_allows_them():
    assert "10.0.0." not in json.dumps(made())
    assert "from 10.0.0.7 and 11 more" in json.dumps(made(addresses=True))


def test_minimal_has_only_what_the_api_needs():
    found = made(minimal=True)
    assert set(found) == {"routing_key", "event_action", "dedup_key", "payload"}
    assert "custom_details" not in found["payload"]


def test_details_go_when_there_are_too_many():
    many = tuple(replace(ALERT, alertname=f"a{n}", summary="x" * 900) for n in range(900))
    body = encoded(made(alerts=many))
    assert len(body) <= MOST_BYTES
    found = json.loads(body)
    assert "omitted" in found["payload"]["custom_details"]
    assert found["payload"]["summary"]


@given(st.text(max_size=5000), st.text(max_size=63))
def test_summary_fits_and_is_one_line(headline, name):
    situation = replace(SITUATION, holders=(Holder(name, name, name, 1),))
    found = made(headline=headline, situation=situation)
    assert 0 < len(found["payload"]["summary"]) <= 1024
    assert "\n" not in found["payload"]["summary"]
    encoded(found).decode("ascii")


def test_empty_parts_are_left_out():
    details = made(situation=Situation(), alerts=())["payload"]["custom_details"]
    assert set(details) == {"opened_at", "incident"}
