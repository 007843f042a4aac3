from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.incidents import Incident, Told
from exporter.alerting.message import HEADLINE, Before, Sender, compose, describe, fitted
from exporter.alerting.notification import Severity, Transition
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
