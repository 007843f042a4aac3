import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.incidents import Incident, Told
from exporter.alerting.message import HEADLINE, Before, Sender, compose, describe, fitted
from exporter.alerting.notification import Notification, Severity, Transition
from exporter.notify import words
from exporter.snapshot.forecast import growth_per_second
from exporter.snapshot.history import History, Sample
from exporter.snapshot.server import Failure, Reason
from tests.support.states import failure, group, state

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=63)
LAUNCH = (
    group(61, "checkout", usename="app", client_addr="10.0.0.7"),
    group(14, "web", state="active"),
    group(7, "worker", state="idle in transaction", state_age_seconds=42.0, oldest_pid=4711),
    group(1, "cron"),
)


def told(server_state, family="connections", transition=Transition.OPENED, summary="s: x"):
    alert = Alert("High", {"severity": "critical", "family": family}, AlertState.FIRING, 990.0,
                  990.0, 0.9, {"summary": summary, "action": "Scale it down.",
                               "runbook_url": "https://example.org/r"})  # fmt: skip
    incident = Incident(server_state.server, family, 990.0, Severity.CRITICAL, (alert,))
    message = Told("pagerduty", transition, Severity.CRITICAL, incident)
    return compose(message, server_state, None, Sender(), 1000.0)


def test_the_headline_stands_alone_on_a_telephone():
    page = told(state(*LAUNCH, forecasts={"page": 21.0}))
    assert page.headline == (
        "CRITICAL prod: 83/97 slots, full in ~20 s, checkout holds 61, 86 % used"
    )
    assert len(page.headline) <= HEADLINE


def test_functions_with_names_of_their_own_are_told_by_their_role():
    names = (group(1, f"fn-{number}") for number in range(70))
    page = told(state(*names, group(2, "cron", datname="jobs")))
    assert (
        page.headline
        == "CRITICAL prod: 72/97 slots, app on shop holds 70 under 70 names, 74 % used"
    )
    assert words.holder_lines(page.situation, words.as_is, addresses=False)[:2] == [
        "app on shop: 70 under 70 names",
        "cron (app on jobs): 2",
    ]
    assert Notification.from_json(page.to_json()) == page


def test_the_situation_spells_the_arithmetic_out():
    situation = describe(
        state(*LAUNCH, growth_per_second=2.58, forecasts={"page": 5.4}),
        Before({("checkout", "app", "shop"): 1, ("web", "app", "shop"): 14}, 60.0),
        1003.0,
    )
    assert situation.arithmetic == "83 of 97 usable slots, 86 %; max 100, 3 reserved"
    assert situation.rate == "+2.6 a second"
    assert situation.time_left == "full in under 10 s"
    assert situation.states == {"idle": 62, "active": 14, "idle in transaction": 7}
    assert [(h.application_name, h.used) for h in situation.holders][:2] == [
        ("checkout", 61),
        ("web", 14),
    ]
    assert [(h.application_name, h.grown) for h in situation.growers] == [
        ("checkout", 60),
        ("worker", 7),
    ]
    idle = situation.idle_transaction
    assert idle is not None
    assert (idle.seconds, idle.pid, idle.application_name) == (42.0, 4711, "worker")
    assert situation.data_age_seconds == 3


@pytest.mark.parametrize(
    ("forecasts", "said"),
    [
        ({"page": 35.0, "warning": 80.0}, ("+1.6 a second", "full in about 30 s")),
        ({"warning": 112.0, "leak": 7200.0}, ("+30 a minute", "full in about 1 min")),
        ({"leak": 10080.0}, ("+20 an hour", "full in about 2 h")),
        ({"leak": 0.0}, ("", "full in under 10 s")),
        ({}, ("-6 a minute", "")),
    ],
)
def test_the_time_left_is_that_at_the_rate_which_is_told(forecasts, said):
    situation = describe(state(group(41), growth_per_second=-0.1, forecasts=forecasts), None, 1000)
    assert (situation.rate, situation.time_left) == said


@pytest.mark.parametrize(
    ("growth", "window", "said"),
    [
        (0.013, 20.0, ""),
        (-0.075, 20.0, ""),
        (0.1, 20.0, "+6 a minute"),
        (0.1, 10.0, ""),
        (0.013, 200.0, "+47 an hour"),
        (None, 20.0, ""),
    ],
)
def test_no_rate_is_made_of_a_client_that_came_or_went(growth, window, said):
    changes = {"growth_per_second": growth, "growth_window_seconds": window}
    assert describe(state(group(73), **changes), None, 1000.0).rate == said


def test_a_step_of_one_client_is_no_rate():
    for at in range(1, 20):
        history = History(Sample(float(t), 73 + (t >= at)) for t in range(21))
        growth = growth_per_second(history)
        assert describe(state(group(74), growth_per_second=growth), None, 1000.0).rate == ""


def test_full_is_said_as_full():
    page = told(state(group(97, "checkout"), forecasts={}))
    assert "no usable slot left" in page.headline
    assert "97/97 slots" in page.headline


def test_old_numbers_come_with_their_age_and_the_reason():
    situation = describe(state(group(90), failure=failure()), None, 1060.0)
    assert situation.data_age_seconds == 60
    assert situation.failure == "connection refused. check the port"


def test_a_server_never_seen_has_words_but_no_numbers():
    page = told(
        state(snapshot=None, failure=failure()), family="reachability", summary="prod: gone"
    )
    assert page.headline == "CRITICAL prod: gone: connection refused"
    assert page.situation.used is None


def test_a_server_that_is_not_seen_says_why_as_far_as_it_fits():
    auth = Failure(Reason.AUTH, 'password authentication failed for user "pgheadroom"')
    page = told(state(failure=auth), family="reachability", summary="prod: not seen for 1m 0s")
    said = 'CRITICAL prod: not seen for 1m 0s: password authentication failed for user "pgh'
    assert page.headline == f"{said}…"


def test_the_reason_goes_before_the_address_that_gave_it():
    said = (
        'connection to server at "database.prod.example.com", port 5432 failed: Connection refused'
    )
    gone = state(snapshot=None, failure=Failure(Reason.NETWORK, said, "check the host and port"))
    page = told(gone, family="reachability", summary="prod: not seen for 16s")
    assert page.headline == "CRITICAL prod: not seen for 16s: Connection refused"
    doubts = words.doubts(page.situation)
    assert doubts == [f"Polls fail: {said}. check the host and port"], "no age of no numbers"


def test_other_families_lead_with_their_own_summary():
    page = told(state(*LAUNCH), family="idle_in_transaction", summary="prod: 12 sessions are idle")
    assert page.headline == "CRITICAL prod: 12 sessions are idle"


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_no_headline_is_longer_than_a_telephone_or_breaks_its_line(parts):
    text = fitted(parts)
    assert len(text) <= HEADLINE
    assert "\n" not in text


@given(NAMES, NAMES)
def test_any_name_fits(server, application):
    page = told(state(group(90, application), server=server))
    assert len(page.headline) <= HEADLINE
    assert page.headline.isprintable() or not (server + application).isprintable()
