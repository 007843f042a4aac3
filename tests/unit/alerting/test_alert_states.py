from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.alerts import (
    AlertState,
    advance,
    alerts_from_json,
    alerts_to_json,
)
from exporter.alerting.notification import Severity
from exporter.rules.model import Element, Result, Rule

RULE = Rule(
    name="High",
    group="g",
    expr="x > 0",
    for_seconds=5.0,
    keep_firing_for_seconds=60.0,
    labels={"severity": "warning", "family": "connections"},
    annotations={"summary": "{{ $labels.server }} at {{ $value }}"},
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=63)


def found(value=0.8, rule=RULE, **labels):
    return [Result(rule, (Element({"server": "prod"} | labels, value),))]


NOTHING = [Result(RULE, ())]


def only(alerts):
    (alert,) = alerts.values()
    return alert


def step(alerts, results, now, *, observed=True):
    return advance(alerts, results, now, observed=observed)


def test_for_is_waited_from_the_first_evaluation_that_finds_it():
    alerts = step({}, found(), 100)
    assert only(alerts).state is AlertState.PENDING
    alerts = step(alerts, found(0.81), 104.9)
    assert only(alerts).state is AlertState.PENDING
    alerts = step(alerts, found(0.82), 105)
    assert only(alerts).state is AlertState.FIRING
    assert only(alerts).fired_at == 105
    assert only(alerts).active_at == 100
    assert only(alerts).annotations["summary"] == "prod at 0.82"


def test_one_evaluation_without_it_ends_a_pending_alert():
    alerts = step({}, found(), 100)
    alerts = step(alerts, NOTHING, 104)
    assert alerts == {}
    alerts = step(alerts, found(), 106)
    assert only(alerts).active_at == 106


def test_a_firing_alert_is_kept_for_keep_firing_for_and_then_resolved():
    rule = replace(RULE, for_seconds=0.0)
    alerts = step({}, found(rule=rule), 100)
    gone = [Result(rule, ())]
    alerts = step(alerts, gone, 110)
    assert only(alerts).keep_firing_since == 110
    alerts = step(alerts, gone, 169.9)
    assert only(alerts).state is AlertState.FIRING
    assert step(alerts, gone, 170) == {}


def test_its_return_starts_keep_firing_for_anew():
    rule = replace(RULE, for_seconds=0.0)
    gone = [Result(rule, ())]
    alerts = step(step({}, found(rule=rule), 100), gone, 110)
    alerts = step(alerts, found(rule=rule), 150)
    assert only(alerts).keep_firing_since is None
    alerts = step(step(alerts, gone, 160), gone, 219)
    assert only(alerts).fired_at == 100


def test_without_keep_firing_for_it_resolves_at_once():
    rule = replace(RULE, for_seconds=0.0, keep_firing_for_seconds=0.0)
    assert step(step({}, found(rule=rule), 100), [Result(rule, ())], 101) == {}


def test_absence_is_no_evidence_while_nothing_was_ever_seen():
    rule = replace(RULE, for_seconds=0.0, keep_firing_for_seconds=0.0)
    alerts = step({}, found(rule=rule), 100)
    pending = step(alerts, found(), 101)
    assert step(alerts, [Result(rule, ())], 1000, observed=False) == alerts
    assert step(pending, NOTHING, 1000, observed=False) == pending


def test_a_rule_that_cannot_be_evaluated_keeps_its_alerts_as_they_are():
    alerts = step(step({}, found(), 100), found(), 105)
    assert step(alerts, [Result(RULE, (), "many-to-many not allowed")], 9999) == alerts


def test_alerts_of_rules_that_are_gone_are_dropped():
    alerts = step({}, found(), 100)
    assert step(alerts, [Result(replace(RULE, name="Other"), ())], 101) == {}


def test_elements_are_told_apart_by_their_labels():
    alerts = step({}, [Result(RULE, (
        Element({"server": "prod", "usename": "a"}, 1.0),
        Element({"server": "prod", "usename": "b"}, 1.0),
    ))], 100)  # fmt: skip
    assert {alert.labels["usename"] for alert in alerts.values()} == {"a", "b"}


def test_a_clock_that_was_ahead_before_a_restart_holds_nothing_for_ever():
    rule = replace(RULE, for_seconds=0.0)
    gone = [Result(rule, ())]
    ahead = step(step({}, found(rule=rule), 4600), gone, 4700)
    behind = step(ahead, gone, 1000)
    assert step(behind, gone, 1060) == {}
    pending = step({}, found(), 4600)
    assert only(step(pending, found(), 1000)).active_at == 1000


def test_an_unknown_severity_counts_as_a_warning():
    rule = replace(RULE, labels={"severity": "page-me"})
    alert = only(step({}, found(rule=rule), 100))
    assert (alert.severity, alert.family) == (Severity.WARNING, "High")


@given(NAMES, NAMES, st.floats())
def test_alerts_survive_the_disk(name, value, number):
    alerts = step({}, found(number, usename=name, application_name=value), 100)
    kept = alerts_from_json(alerts_to_json(alerts))
    assert kept.keys() == alerts.keys()
    assert only(kept).labels == only(alerts).labels
