"""Alerts that must be sent again and again: until when, and which end with which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.alerting.notification import Severity, Transition
from exporter.notify.alert_json import incident_labels
from exporter.notify.alertmanager import alert
from exporter.notify.standing import ENDED_SECONDS, Standing, Standings, standings_from_json
from tests.support.notifications import SITUATION, notification

NOW = 1_700_000_100.5


def told(transition=Transition.OPENED, severity=Severity.CRITICAL, at=NOW, **changes):
    return notification(transition, severity=severity, at=at, **changes)


def seen(standings, now):
    return [(e.notification.severity.value, e.ended_at) for e in standings.current(now)]


def test_an_alert_stands_until_minutes_after_its_end():
    standings = Standings()
    standings.told(told())
    assert seen(standings, NOW + 1e6) == [("critical", None)]
    standings.told(told(Transition.RESOLVED, at=NOW + 10))
    assert seen(standings, NOW + 9 + ENDED_SECONDS) == [("critical", NOW + 10)]
    assert seen(standings, NOW + 10 + ENDED_SECONDS) == []
    assert not standings


def test_another_severity_is_another_alert_and_ends_the_one_before():
    standings = Standings()
    assert not standings.told(told(severity=Severity.WARNING))
    assert standings.told(told(Transition.ESCALATED, at=NOW + 5))
    assert seen(standings, NOW + 5) == [("warning", NOW + 5), ("critical", None)]
    assert standings.told(told(Transition.DEESCALATED, Severity.WARNING, at=NOW + 9))
    assert seen(standings, NOW + 9) == [("warning", None), ("critical", NOW + 9)]


def test_other_incidents_stand_beside_it_and_a_test_does_not_stand():
    standings = Standings()
    standings.told(told())
    standings.told(told(incident="two"))
    standings.told(told(Transition.TEST, incident="three"))
    standings.told(told(Transition.RESOLVED, incident="two", at=NOW + 1))
    assert seen(standings, NOW + 1) == [("critical", None), ("critical", NOW + 1)]


def test_what_stands_survives_a_restart():
    standings = Standings()
    standings.told(told(severity=Severity.WARNING))
    standings.told(told())
    again = standings_from_json(standings.to_json())
    assert again.current(NOW) == standings.current(NOW)
    assert not standings_from_json(None)


@pytest.mark.parametrize("text", ["{}x", "[1]", "[[1, 2]]", '[["{}", null]]', "3"])
def test_a_text_that_is_none_of_ours_is_an_error(text):
    with pytest.raises(ValueError, match=r"."):
        standings_from_json(text)


def made(standing, now=NOW, **options):
    return alert(standing, now, valid=120, addresses=False, **options)


def test_labels_stay_while_values_change():
    first = told(severity=Severity.WARNING)
    later = replace(
        first,
        transition=Transition.REPEATED,
        headline="other",
        at=NOW + 600,
        alerts=(),
        situation=replace(SITUATION, used=90, arithmetic="90 of 97 usable slots"),
    )
    assert incident_labels(first) == incident_labels(later) == {
        "alertname": "PgheadroomConnections",
        "server": "pg-prod-1",
        "family": "connections",
        "severity": "warning",
        "env": "prod",
    }  # fmt: skip
    assert made(Standing(first))["annotations"] != made(Standing(later))["annotations"]
    assert "90 of 97" in made(Standing(later))["annotations"]["arithmetic"]


def test_an_open_alert_is_valid_for_some_sendings_and_began_at_the_onset():
    found = made(Standing(told()))
    assert found["startsAt"] == "2023-11-14T22:13:20.000Z"
    assert found["endsAt"] == "2023-11-14T22:17:00.500Z"
    assert found["generatorURL"] == "https://pgheadroom.example.com/"
    assert found["annotations"]["summary"].startswith("pg-prod-1: 83/97 slots")


def test_an_ended_alert_keeps_its_end():
    standing = Standing(told(Transition.RESOLVED), NOW)
    assert made(standing, NOW + 200)["endsAt"] == made(standing)["endsAt"]
    assert made(standing)["endsAt"] == "2023-11-14T22:15:00.500Z"


@pytest.mark.parametrize("ended", [None, NOW])
def test_no_alert_starts_after_its_end_whatever_the_clock_does(ended):
    found = made(Standing(told(), ended), NOW - 86_400)
    assert found["startsAt"] <= found["endsAt"]


def test_client_addresses_are_left_out_and_a_minimal_alert_is_its_headline():
    found = made(Standing(told()))["annotations"]
    assert "10.0.0.7" not in str(found)
    assert list(made(Standing(told()), minimal=True)["annotations"]) == ["summary"]
