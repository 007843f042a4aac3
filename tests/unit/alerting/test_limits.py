"""The limit of a role or a database that binds, in the headline and in the situation."""

from __future__ import annotations

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.incidents import Incident, Told
from exporter.alerting.message import HEADLINE, Sender, compose
from exporter.alerting.notification import Notification, Severity, Transition
from exporter.snapshot.server import ServerState
from tests.support.states import group, snapshot

SLOTS = (
    group(40, "checkout", usename="app"),
    group(6, "web", usename="app"),
    group(9, "report", usename="bi", datname="stats"),
)


def page(role_limits=None, database_limits=None, **labels):
    shot = snapshot(*SLOTS, role_limits=role_limits or {}, database_limits=database_limits or {})
    alert = Alert(
        "Limit", {"severity": "warning", "family": "limits"} | labels, AlertState.FIRING, 990.0,
        990.0, 0.92, {"summary": "prod: a limit is near"},
    )  # fmt: skip
    incident = Incident("prod", "limits", 990.0, Severity.WARNING, (alert,))
    told = Told("slack", Transition.OPENED, Severity.WARNING, incident)
    return compose(told, ServerState("prod", snapshot=shot), None, Sender(), 1000.0)


def test_a_roles_limit_leads_with_its_numbers_and_its_top_application():
    made = page(role_limits={"app": 50, "bi": 100}, usename="app")
    assert made.headline == ("WARNING prod: 46/50 connections of role app, checkout holds 40, 92 %")
    assert len(made.headline) <= HEADLINE
    assert made.situation.limits == ("role app: 46 of 50, 92 %",)


def test_a_databases_limit_too():
    made = page(database_limits={"stats": 10}, datname="stats")
    assert made.headline == (
        "WARNING prod: 9/10 connections of database stats, report holds 9, 90 %"
    )
    assert made.situation.limits == ("database stats: 9 of 10, 90 %",)


def test_the_fullest_limit_comes_first_and_those_far_away_are_left_out():
    made = page(role_limits={"app": 46, "bi": 10, "idle": 5}, database_limits={"shop": 60})
    assert made.situation.limits == (
        "role app: 46 of 46, 100 %",
        "role bi: 9 of 10, 90 %",
        "database shop: 46 of 60, 77 %",
    )


def test_a_limit_that_is_gone_leaves_the_rules_own_words():
    assert page(usename="app").headline == "WARNING prod: a limit is near"


def test_a_limit_of_zero_divides_nothing():
    assert page(role_limits={"app": 0}, usename="app").situation.limits == (
        "role app: 46 of 0, 4600 %",
    )


def test_the_outbox_keeps_it():
    made = page(role_limits={"app": 50}, usename="app")
    assert Notification.from_json(made.to_json()) == made
