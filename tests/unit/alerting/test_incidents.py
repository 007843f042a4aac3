import pytest

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.incidents import Incident, dedup_key, incidents_from_json
from exporter.alerting.message import Sender
from exporter.alerting.notification import Notification, Severity, Transition
from exporter.alerting.routing import Routing
from exporter.alerting.telling import Telling
from exporter.config.alerting import Route
from exporter.notify.words import resolution_lines
from exporter.rules.model import Element, Result, Rule
from exporter.snapshot.server import Reason
from exporter.snapshot.slots import Limits
from tests.support.states import failure, group, refused, snapshot, state

ROUTES = (
    Route.model_validate({"receiver": "pagerduty", "matchers": ('severity="critical"',)}),
    Route.model_validate({"receiver": "slack"}),
)


def rule(name, severity="warning", family="connections"):
    return Rule(
        name=name,
        group="g",
        expr="x",
        labels={"severity": severity, "family": family},
        annotations={"summary": f"{{{{ $labels.server }}}}: {name}", "action": "Scale down."},
    )


HIGH = rule("High")
CRITICAL = rule("Critical", "critical")
FORECAST = rule("Forecast", "critical")
IDLE = rule("Idle", family="idle_in_transaction")
RULES = (HIGH, CRITICAL, FORECAST, IDLE)


class Server:
    """Drives one server's alerter by hand."""

    def __init__(self, routes=ROUTES, labels=None):
        labels = labels or {}
        sender = Sender("install", "test host", "http://127.0.0.1:9970", labels)
        self.alerter = Alerter(Routing(routes, labels), sender)
        self.book = Book()
        self.now = 1000.0

    def step(self, *firing, used=50, observed=True, **changes):
        self.now += 1
        results = [
            Result(each, (Element({"server": "prod"}, 1.0),) if each in firing else ())
            for each in RULES
        ]
        server_state = state(group(used), taken_at=self.now, **changes)
        decision = self.alerter.decide(
            self.book, results, server_state, None, self.now, observed=observed
        )
        self.book = decision.book
        return [(name, told.transition, told.severity) for name, told in decision.notifications]

    def last(self, *firing, **changes):
        self.now += 1
        results = [
            Result(each, (Element({"server": "prod"}, 1.0),) if each in firing else ())
            for each in RULES
        ]
        server_state = state(group(50), taken_at=self.now, **changes)
        decision = self.alerter.decide(
            self.book, results, server_state, None, self.now, observed=True
        )
        self.book = decision.book
        return dict(decision.notifications)


OPENED, ESCALATED = Transition.OPENED, Transition.ESCALATED
DEESCALATED, RESOLVED = Transition.DEESCALATED, Transition.RESOLVED
WARNING, CRIT = Severity.WARNING, Severity.CRITICAL


def test_a_ramp_is_one_incident_that_escalates():
    server = Server()
    assert server.step() == []
    assert server.step(HIGH) == [("slack", OPENED, WARNING)]
    assert server.step(HIGH, CRITICAL) == [("pagerduty", OPENED, CRIT), ("slack", ESCALATED, CRIT)]
    assert server.step(HIGH, CRITICAL, FORECAST) == []
    assert server.step(HIGH, CRITICAL) == []
    assert len(server.book.incidents) == 1


def test_a_page_first_makes_one_message_for_each_receiver():
    server = Server()
    assert server.step(FORECAST) == [("pagerduty", OPENED, CRIT), ("slack", OPENED, CRIT)]
    assert server.step(FORECAST, HIGH) == []


def test_the_end_is_told_once_to_everyone_who_heard_of_it():
    server = Server()
    server.step(HIGH, CRITICAL)
    assert server.step() == [("pagerduty", RESOLVED, CRIT), ("slack", RESOLVED, CRIT)]
    assert server.step() == []
    assert server.book.incidents == {}


def test_a_pager_that_only_takes_critical_is_resolved_when_nothing_critical_is_left():
    server = Server()
    server.step(HIGH, CRITICAL)
    assert server.step(HIGH) == [("pagerduty", RESOLVED, CRIT), ("slack", DEESCALATED, WARNING)]
    assert server.step(HIGH, CRITICAL) == [("pagerduty", OPENED, CRIT), ("slack", ESCALATED, CRIT)]
    assert server.step() == [("pagerduty", RESOLVED, CRIT), ("slack", RESOLVED, CRIT)]


def test_a_message_leads_with_the_rule_that_stands_first_among_equals():
    server = Server()
    server.step(FORECAST)
    for _ in range(3):
        texts = server.book.to_json()
        server.book = Book.from_json(texts["alerts"], texts["incidents"])
        server.step(HIGH, CRITICAL, FORECAST)
        (incident,) = server.book.incidents.values()
        assert [alert.rule for alert in incident.alerts] == ["Critical", "Forecast", "High"]


def test_another_family_is_another_incident():
    server = Server()
    server.step(HIGH)
    assert server.step(HIGH, IDLE) == [("slack", OPENED, WARNING)]
    assert set(server.book.incidents) == {"connections", "idle_in_transaction"}


def test_a_restart_neither_repeats_nor_forgets():
    server = Server()
    server.step(HIGH, CRITICAL)
    texts = server.book.to_json()
    server.book = Book.from_json(texts["alerts"], texts["incidents"])
    assert server.step(HIGH, CRITICAL) == []
    assert server.step() == [("pagerduty", RESOLVED, CRIT), ("slack", RESOLVED, CRIT)]


def test_nobody_looked_is_not_resolved():
    server = Server()
    server.step(HIGH, CRITICAL)
    for _ in range(50):
        assert server.step(observed=False, snapshot=None, failure=failure()) == []
    assert server.step(HIGH, CRITICAL) == []


def test_the_resolve_tells_duration_peak_headroom_and_refusals():
    server = Server()
    server.step(CRITICAL, used=85)
    server.step(CRITICAL, used=97, probes=refused())
    server.step(CRITICAL, used=60)
    told = server.last()
    resolution = told["pagerduty"].resolution
    assert resolution.duration_seconds == 3
    assert (resolution.peak_used, resolution.peak_usable, resolution.least_free) == (97, 97, 0)
    assert resolution.refused
    assert "peak 97/97 slots" in told["slack"].headline
    assert "clients were refused" in told["slack"].headline


def test_the_peak_is_the_worst_moment_also_where_the_slots_become_more():
    server = Server()
    server.step(CRITICAL, used=86)
    more = Limits(max_connections=200, superuser_reserved_connections=3)
    server.step(CRITICAL, snapshot=snapshot(group(121), limits=more))
    resolution = server.last()["slack"].resolution
    assert (resolution.peak_used, resolution.peak_usable, resolution.least_free) == (86, 97, 11)


def test_the_least_headroom_is_that_of_the_peak_where_the_slots_become_fewer():
    server = Server()
    more = Limits(max_connections=200, superuser_reserved_connections=3)
    server.step(CRITICAL, snapshot=snapshot(group(180), limits=more))
    server.step(CRITICAL, used=88)
    resolution = server.last()["slack"].resolution
    assert (resolution.peak_used, resolution.peak_usable, resolution.least_free) == (180, 197, 17)


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.ROLE_LIMIT, Reason.DATABASE_LIMIT])
def test_a_limit_of_a_role_or_database_refuses_clients_too(reason):
    server = Server()
    server.step(CRITICAL, probes=refused(reason=reason))
    assert "clients were refused" in server.last()["slack"].headline


@pytest.mark.parametrize(
    ("reason", "seen"),
    [
        (Reason.REFUSED, "clients were refused"),
        (Reason.DATABASE_LIMIT, "clients were refused"),
        (Reason.ROLE_LIMIT, "none seen refused"),
        (Reason.NETWORK, "none seen refused"),
    ],
)
def test_what_refuses_our_own_login_refuses_others_unless_it_is_our_roles_limit(reason, seen):
    server = Server()
    server.step(CRITICAL, failure=failure(reason))
    assert seen in server.last()["slack"].headline


def test_where_no_slot_was_left_nobody_says_that_nobody_was_refused():
    server = Server()
    server.step(CRITICAL, used=97)
    told = server.last()["slack"]
    assert told.headline.endswith("peak 97/97 slots, the slots ran out")
    assert resolution_lines(told.resolution)[-1].startswith("The slots ran out")


def test_stale_numbers_make_no_peak():
    server = Server()
    server.step(CRITICAL, used=85)
    server.step(CRITICAL, used=97, failure=failure())
    assert server.last()["slack"].resolution.peak_used == 85


def test_the_dedup_key_is_the_same_for_every_message_and_after_a_lost_disk():
    first, second = Server(), Server()
    opened = first.last(CRITICAL)
    resolved = first.last()
    again = second.last(CRITICAL)
    keys = {told["pagerduty"].dedup_key for told in (opened, resolved, again)}
    assert keys == {dedup_key("install", "prod", "connections")}
    assert len(keys.pop()) == 64
    assert dedup_key("install", "prod", "waiting") not in keys


def test_labels_of_the_configuration_route():
    routes = (
        Route.model_validate({"receiver": "prod-pager", "matchers": ('env="production"',)}),
        Route.model_validate({"receiver": "forecasts", "matchers": ('alertname=~"Fore.*"',)}),
    )
    server = Server(routes, {"env": "production"})
    assert server.step(HIGH) == [("prod-pager", OPENED, WARNING)]
    assert server.step(HIGH, FORECAST) == [
        ("forecasts", OPENED, CRIT),
        ("prod-pager", ESCALATED, CRIT),
    ]
    assert Server(routes, {"env": "staging"}).step(HIGH) == []


def test_notifications_survive_the_outbox():
    told = Server().last(CRITICAL, probes=refused())["pagerduty"]
    assert Notification.from_json(told.to_json()) == told


@pytest.mark.parametrize("text", ["{", "[1]", '[{"a": 1}]', "null", '{"a": 1}'])
def test_a_state_that_is_none_is_refused_in_one_way(text):
    with pytest.raises(ValueError, match=r".+"):
        incidents_from_json(text)
    with pytest.raises(ValueError, match=r".+"):
        Book.from_json(text, None)


@pytest.mark.parametrize("severities", [(CRIT, WARNING), (WARNING, CRIT), (None, CRIT)])
def test_what_a_receiver_knows_goes_with_its_name_and_of_two_the_worst(severities):
    told = dict(zip("ab", map(Telling, severities), strict=True))
    book = Book(incidents={"x": Incident("prod", "x", 1.0, CRIT, told=told)})
    renamed = book.renamed({"a": "on-call", "b": "on-call"})
    assert renamed.incidents["x"].told == {"on-call": Telling(CRIT)}
    assert renamed.renamed({"a": "on-call"}) == renamed
    assert book.renamed({}) is book
