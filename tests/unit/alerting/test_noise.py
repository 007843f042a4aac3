"""One server's alerter with silences, mutes, inhibition, repeats and flapping."""

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.message import Sender
from exporter.alerting.muting import Around, Labels, Muting
from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Routing, manners_of
from exporter.alerting.silences import requested
from exporter.config.alerting import PagerDutyReceiver, Route, SlackReceiver
from exporter.config.muting import DEFAULT_INHIBITIONS
from exporter.rules.model import Element, Result, Rule
from exporter.snapshot.server import ServerState
from tests.support.states import group, state

ROUTES = (
    Route.model_validate({"receiver": "pagerduty", "matchers": ('severity="critical"',)}),
    Route.model_validate({"receiver": "slack"}),
)
RECEIVERS = (
    PagerDutyReceiver(name="pagerduty", type="pagerduty", routing_key="k"),
    SlackReceiver(name="slack", type="slack", webhook_url="http://127.0.0.1/x"),
)
OPENED, ESCALATED = Transition.OPENED, Transition.ESCALATED
DEESCALATED, RESOLVED = Transition.DEESCALATED, Transition.RESOLVED
REPEATED = Transition.REPEATED
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def rule(name, severity, family="connections", keep=0.0):
    return Rule(
        name=name,
        group="g",
        expr="x",
        labels={"severity": severity, "family": family},
        annotations={"summary": f"{{{{ $labels.server }}}}: {name}"},
        keep_firing_for_seconds=keep,
    )


HIGH = rule("PostgresConnectionsHigh", "warning")
FORECAST = rule("PostgresExhaustionForecast", "critical")
FULL = rule("PostgresConnectionsExhausted", "critical")
REFUSED = rule("PostgresConnectProbeRefused", "critical")
AWAY = rule("PostgresServerUnreachable", "warning", "reachability")
KEPT = rule("PostgresConnectionsCritical", "critical", keep=300.0)
KEPT_HIGH = rule("PostgresConnectionsHighKept", "warning", keep=310.0)
KEPT_AWAY = rule("PostgresServerUnreachableKept", "critical", "reachability", keep=60.0)
RULES = (HIGH, FORECAST, FULL, REFUSED, AWAY, KEPT, KEPT_HIGH, KEPT_AWAY)


class Server:
    def __init__(self, name="prod"):
        self.name = name
        routing = Routing(ROUTES, {"env": "production"}, manners_of(RECEIVERS))
        self.alerter = Alerter(routing, Sender("install"), Muting((), DEFAULT_INHIBITIONS))
        self.book = Book()
        self.now = 1000.0
        self.silences = []
        self.others: tuple[Labels, ...] = ()
        self.sent = []

    def silence(self, *matchers, seconds=600):
        asked = {"matchers": matchers, "author": "a", "comment": "c", "duration": seconds}
        self.silences.append(requested(asked, f"s{len(self.silences)}", self.now))

    def step(self, *firing, seconds=1.0):
        self.now += seconds
        results = [
            Result(each, (Element({"server": self.name}, 1.0),) if each in firing else ())
            for each in RULES
        ]
        decision = self.alerter.decide(
            self.book,
            results,
            state(group(50), server=self.name, taken_at=self.now),
            None,
            self.now,
            observed=True,
            around=Around(self.silences, self.others),
        )
        self.book = decision.book
        self.sent = [notification for _, notification in decision.notifications]
        return [(name, told.transition) for name, told in decision.notifications]

    def restart(self):
        texts = self.book.to_json()
        self.book = Book.from_json(texts["alerts"], texts["incidents"])

    def muted(self):
        return {a.rule: a.muted_by for a in self.book.alerts.values() if a.muted_by}


def test_a_silenced_incident_is_evaluated_and_shown_and_told_when_the_silence_ends():
    server = Server()
    server.silence('env="production"', seconds=600)
    assert server.step(HIGH, FORECAST) == []
    assert server.muted() == {
        "PostgresConnectionsHigh": "silence s0",
        "PostgresExhaustionForecast": "silence s0",
    }
    assert server.book.incidents["connections"].severity is CRITICAL
    assert server.step(HIGH, FORECAST, seconds=590) == []
    assert server.step(HIGH, FORECAST, seconds=10) == [("pagerduty", OPENED), ("slack", OPENED)]
    assert server.muted() == {}


def test_what_was_over_before_the_silence_ended_is_told_to_nobody():
    server = Server()
    server.silence('server="prod"', seconds=60)
    assert server.step(KEPT) == []
    server.step()
    server.restart()
    assert server.step(seconds=100) == []
    assert server.muted() == {}
    assert list(server.book.incidents) == ["connections"]
    assert server.step(seconds=300) == []
    assert server.book.alerts == {}


def test_what_was_over_before_its_inhibition_ended_is_told_to_nobody():
    server = Server()
    server.step(REFUSED)
    assert server.step(REFUSED, KEPT_AWAY) == []
    assert server.step() == [("pagerduty", RESOLVED), ("slack", RESOLVED)]
    assert server.muted() == {}
    assert server.step(seconds=100) == []


def test_what_comes_back_after_the_silence_is_told_although_it_was_kept_firing():
    server = Server()
    server.silence('server="prod"', seconds=60)
    server.step(KEPT)
    server.step()
    assert server.step(seconds=100) == []
    assert server.step(KEPT) == [("pagerduty", OPENED), ("slack", OPENED)]


def test_what_is_only_kept_firing_holds_the_end_back_and_tells_no_fall():
    server = Server()
    server.step(KEPT, KEPT_HIGH)
    server.step()
    assert server.step(seconds=299) == []
    assert server.step() == [("pagerduty", RESOLVED)]
    assert list(server.book.incidents) == ["connections"]
    assert server.step(seconds=10) == [("slack", RESOLVED)]


def test_what_was_so_for_five_seconds_did_not_last_as_long_as_it_was_kept_firing():
    server = Server()
    server.step(KEPT)
    assert server.step(seconds=5) == []
    server.restart()
    assert server.step(seconds=300) == [("pagerduty", RESOLVED), ("slack", RESOLVED)]
    for told in server.sent:
        assert told.resolution is not None
        assert told.resolution.duration_seconds == 5
        assert told.headline.startswith("RESOLVED prod: connections after 5 s")


def test_a_pager_hears_how_long_that_lasted_which_it_was_told_of():
    server = Server()
    server.step(KEPT, HIGH)
    server.step(HIGH, seconds=5)
    assert server.step(HIGH, seconds=300) == [("pagerduty", RESOLVED), ("slack", DEESCALATED)]
    (told, _) = server.sent
    assert told.resolution is not None
    assert told.resolution.duration_seconds == 5
    assert server.step(seconds=95) == [("slack", RESOLVED)]
    (told,) = server.sent
    assert told.resolution is not None
    assert told.resolution.duration_seconds == 400


def test_what_comes_back_meanwhile_lasts_to_its_last_end():
    server = Server()
    server.step(KEPT)
    server.step(seconds=5)
    server.step(KEPT, seconds=100)
    server.step(seconds=5)
    server.step(seconds=300)
    for told in server.sent:
        assert told.resolution is not None
        assert told.resolution.duration_seconds == 110
    assert len(server.sent) == 2


def test_a_message_tells_no_values_of_what_is_only_kept_firing():
    server = Server()
    assert server.step(KEPT_HIGH) == [("slack", OPENED)]
    assert server.step(HIGH) == []
    assert server.step(HIGH, FULL) == [("pagerduty", OPENED), ("slack", ESCALATED)]
    assert [each.alertname for each in server.sent[0].alerts] == [FULL.name, HIGH.name]


def test_the_forecast_of_a_deploy_is_silenced_and_exhaustion_pages():
    server = Server()
    server.silence('alertname="PostgresExhaustionForecast"', 'server="prod"')
    assert server.step(FORECAST) == []
    assert server.step(FORECAST, HIGH) == [("slack", OPENED)]
    (told,) = server.sent
    assert [each.alertname for each in told.alerts] == ["PostgresConnectionsHigh"]
    assert told.severity is WARNING
    server.silence('server="prod"')
    assert server.step(FORECAST, HIGH, FULL) == [("pagerduty", OPENED), ("slack", ESCALATED)]
    assert {each.alertname for told in server.sent for each in told.alerts} == {
        "PostgresConnectionsExhausted"
    }


def test_a_silence_over_an_open_incident_holds_repeats_and_lets_the_end_through():
    server = Server()
    server.step(HIGH, FORECAST)
    server.silence('server="prod"', seconds=30_000)
    for _ in range(100):
        assert server.step(HIGH, FORECAST, seconds=100) == []
    assert server.step() == [("pagerduty", RESOLVED), ("slack", RESOLVED)]


def test_refused_says_enough_for_one_that_cannot_be_reached():
    server = Server()
    assert server.step(REFUSED) == [("pagerduty", OPENED), ("slack", OPENED)]
    assert server.step(REFUSED, AWAY) == []
    assert server.muted() == {
        "PostgresServerUnreachable": "inhibited by PostgresConnectProbeRefused"
    }
    assert server.step(AWAY) == [
        ("pagerduty", RESOLVED),
        ("slack", RESOLVED),
        ("slack", OPENED),
    ]


def test_that_it_was_full_when_last_seen_does_not_hide_that_it_is_gone():
    server = Server()
    server.step(FULL)
    assert server.step(FULL, AWAY) == [("slack", OPENED)]


def test_what_fires_on_another_server_inhibits_nothing_here():
    server = Server()
    server.others = ({"alertname": REFUSED.name, "server": "other", "severity": "critical"},)
    assert server.step(AWAY) == [("slack", OPENED)]


def test_repeats_go_on_over_a_restart():
    server = Server()
    server.step(FORECAST)
    assert server.step(FORECAST, seconds=1000) == []
    server.restart()
    assert server.step(FORECAST, seconds=799) == []
    assert server.step(FORECAST, seconds=1) == [("slack", REPEATED)]
    assert server.sent[0].headline.startswith("STILL CRITICAL prod")
    assert server.step(FORECAST, seconds=5400) == [("pagerduty", REPEATED), ("slack", REPEATED)]
    assert server.sent[0].dedup_key == server.sent[1].dedup_key


def test_an_incident_that_flaps_says_so_and_is_one_incident_from_then_on():
    server = Server()
    for _ in range(4):
        server.step(FORECAST)
        server.step()
    assert server.step(FORECAST) == []
    server.restart()
    (incident,) = server.book.incidents.values()
    assert incident.ended_at is None
    assert server.step(FORECAST, seconds=300) == [("pagerduty", REPEATED), ("slack", REPEATED)]
    assert all(told.flapping for told in server.sent)
    assert "FLAPPING" in server.sent[0].headline
    server.step()
    assert server.step(seconds=1799) == []
    assert server.step(seconds=1) == [("pagerduty", RESOLVED), ("slack", RESOLVED)]
    assert server.sent[0].resolution.duration_seconds < 400
    server.step(seconds=4000)
    assert server.book.incidents == {}


def test_what_opens_after_everybody_heard_of_the_end_is_another_incident():
    server = Server()
    incidents = []
    for _ in range(2):
        server.step(FORECAST)
        incidents.append(server.book.incidents["connections"])
        server.step(seconds=400)
        assert server.book.incidents["connections"].ended_at == server.now
    first, second = incidents
    assert second.opened_at > first.opened_at
    assert first.id != second.id
    assert server.sent[0].resolution.duration_seconds == 400


def test_an_endpoint_that_is_no_longer_watched_is_closed_at_once():
    server = Server()
    for _ in range(4):
        server.step(FORECAST)
        server.step()
    server.step(FORECAST)
    decision = server.alerter.close(server.book, ServerState("prod"), server.now)
    told = [(name, each.transition) for name, each in decision.notifications]
    assert told == [("pagerduty", RESOLVED), ("slack", RESOLVED)]
    assert decision.book == Book()


def test_what_the_server_itself_tells_inhibits_what_stands_in_front_of_it():
    pooler = Server()
    away = {"alertname": "PostgresServerUnreachableLong", "family": "reachability"}
    slow = rule("PoolerWaitCritical", "critical", "pooler")
    element = Element({"server": "prod", "pooler": "pgb"}, 1.0)
    for severity, told in (("warning", 2), ("critical", 0)):
        around = Around((), ({**away, "server": "prod", "severity": severity},))
        decision = pooler.alerter.decide(
            Book(),
            [Result(slow, (element,))],
            state(server="prod"),
            None,
            1000.0,
            observed=True,
            around=around,
        )
        assert len(decision.notifications) == told
        assert decision.firing[0]["env"] == "production"
