"""The JSON of a webhook: the fields of Alertmanager's version 4, made of one incident."""

from __future__ import annotations

from dataclasses import replace

from exporter.alerting.notification import AlertLine, Severity, Transition
from exporter.notify.webhook import message
from tests.support.notifications import ALERT, notification

SECOND = AlertLine("PgHeadroomSlotsHigh", Severity.WARNING, "71 %", "It uses 71 %.")


def made(transition=Transition.OPENED, *, minimal=False, **changes):
    told = notification(transition, **changes)
    resolved = transition is Transition.RESOLVED
    return message(told, "hook", resolved=resolved, addresses=False, minimal=minimal)


def test_it_has_the_fields_of_version_4_and_no_others():
    found = made()
    assert {name: found[name] for name in ("version", "status", "receiver", "truncatedAlerts")} == {
        "version": "4",
        "status": "firing",
        "receiver": "hook",
        "truncatedAlerts": 0,
    }
    assert set(found) == {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels",
        "commonLabels", "commonAnnotations", "externalURL", "alerts",
    }  # fmt: skip
    (alert,) = found["alerts"]
    assert set(alert) == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert found["groupKey"] == '{}:{family="connections", server="pg-prod-1"}'
    assert found["externalURL"] == "https://pgheadroom.example.com/"


def test_what_all_alerts_share_is_common():
    found = made(alerts=(ALERT, SECOND))
    names = [each["labels"]["alertname"] for each in found["alerts"]]
    assert names == ["PgHeadroomSlotsCritical", "PgHeadroomSlotsHigh"]
    assert found["commonLabels"] == {"server": "pg-prod-1", "family": "connections", "env": "prod"}
    assert "83 of 97" in found["commonAnnotations"]["arithmetic"]
    assert found["commonAnnotations"]["headline"].startswith("pg-prod-1: 83/97")
    assert "summary" not in found["commonAnnotations"]
    assert found["alerts"][1]["annotations"]["summary"] == "71 %"
    assert len({each["fingerprint"] for each in found["alerts"]}) == 2


def test_group_and_fingerprint_stay_over_an_incident_and_the_end_is_told():
    opened, resolved = made(), made(Transition.RESOLVED)
    assert opened["groupKey"] == resolved["groupKey"]
    assert opened["alerts"][0]["fingerprint"] == resolved["alerts"][0]["fingerprint"]
    assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["endsAt"] == "2023-11-14T22:15:00.500Z"
    assert "Lasted 3 min 5 s" in resolved["commonAnnotations"]["resolution"]


def test_a_link_that_could_break_a_format_and_addresses_are_left_out():
    bad = replace(ALERT, runbook_url="javascript:alert(1)")
    found = made(alerts=(bad,), link="x y")
    assert found["externalURL"] == ""
    assert "runbook_url" not in found["alerts"][0]["annotations"]
    assert "10.0.0.7" not in str(found)


def test_an_incident_without_a_rule_is_an_alert_by_itself():
    (alert,) = made(alerts=())["alerts"]
    assert alert["labels"]["alertname"] == "PgheadroomConnections"


def test_minimal_is_the_headline_alone():
    (alert,) = made(minimal=True)["alerts"]
    assert list(alert["annotations"]) == ["summary"]
