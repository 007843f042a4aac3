"""A pooler's turns: what is told of it, and what a server learns of the poolers in front of it."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.notification import Severity, Transition
from exporter.alerting.pooler_message import RESUME
from exporter.alerting.routing import Routing
from exporter.config.alerting import Route, Rules
from exporter.config.pooler import PoolerThresholds
from exporter.config.server import Forecast, Polling, Thresholds
from exporter.notify import words
from exporter.notify.pagerduty import details
from exporter.notify.slack_message import payload
from exporter.poll import Desk, Plan, PoolerPlan, PoolerWatch, Watch
from exporter.rules.evaluate import RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.server import Failure, Probe, Reason
from exporter.sources.errors import SourceError
from exporter.web.pooler_page import pooler as pooler_part
from tests.support.poolers import database, pool, pooled, waiting
from tests.support.states import failure, group, snapshot

RULES = RuleSet(load_rules(Rules())[0]).of_scope("server")
ROUTES = (Route(receiver="slack"),)
CALM = pooled(pool(sv_active=2))
STUCK = pooled(
    pool("shop", "app", sv_active=25, cl_waiting=14, wait=6.25),
    pool("logs", "bi", sv_active=1),
    clients=(waiting("checkout", 9), waiting("web", 5), waiting("batch", 2, "logs", "bi")),
)


SAID = 'connection to server at "10.0.0.9", port 6432 failed: Connection refused'


class Console:
    """A source that shows what it is told to; a Failure is raised."""

    def __init__(self, shown):
        self.shown = shown
        self.probe_reason = None

    async def poll(self, now):
        if not hasattr(self.shown, "all_pools"):
            raise SourceError(self.shown)
        return replace(self.shown, taken_at=now)

    async def probe(self, now):
        return Probe("pgb-1", now, 0.1, self.probe_reason, SAID if self.probe_reason else "")


class Postgres:
    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        return snapshot(group(3), taken_at=now)

    async def probe(self, now):
        raise NotImplementedError


class Kept:
    """A journal in memory, and what it was told to send."""

    def __init__(self):
        self.texts = {}
        self.told = []

    async def commit(self, states, notifications):
        self.texts |= states
        self.told += [notification for _, notification in notifications]

    def save_soon(self, key, text):
        self.texts[key] = text

    def load(self, key):
        return self.texts.get(key)


class World:
    """A desk and a clock of one's own."""

    def __init__(self, journal=None):
        self.now = 1000.0
        self.journal = journal or Kept()
        self.desk = Desk(RULES, Board(), self.journal, lambda: self.now)

    def pooler(self, name="pgb-1", shown=CALM, server: str | None = "prod", **changes):
        thresholds = {k: float(v) for k, v in PoolerThresholds().model_dump().items()}
        labels = {"pooler": name}
        alerter = Alerter(Routing(ROUTES, labels), Sender(labels=labels))
        plan = PoolerPlan(Polling(), thresholds, alerter, server, ("10.0.0.5:5432",), **changes)
        source = Console(shown)
        return PoolerWatch(name, source, plan, self.desk), source

    def server(self):
        thresholds = {k: float(v) for k, v in Thresholds().model_dump().items()}
        alerter = Alerter(Routing(ROUTES, {}), Sender())
        return Watch(
            "prod", Postgres(), Plan(Polling(), thresholds, Forecast(), alerter), self.desk
        )

    def turn(self, *watches, seconds=2.0, times=1):
        for _ in range(times):
            self.now += seconds
            for watch in watches:
                asyncio.run(watch.turn())
        return self.journal.told


def test_a_page_names_the_pool_its_sum_and_who_waits():
    world = World()
    watch, source = world.pooler()
    assert world.turn(watch, times=3) == []
    source.shown = STUCK
    (page,) = world.turn(watch)
    assert (page.severity, page.transition) == (Severity.CRITICAL, Transition.OPENED)
    assert page.headline == "CRITICAL prod: a client waits 6.2 s in pool shop/app of pgb-1"
    assert (page.server, page.family) == ("prod", "pooler:pgb-1")
    assert page.labels["pooler"] == "pgb-1"
    assert page.situation.arithmetic == (
        "pool shop/app: 25 of 25 server connections, 100 %; size 20, 5 reserve;"
        " 14 wait, longest 6.2 s"
    )
    names = [(each.application_name, each.used) for each in page.situation.applications_waiting]
    assert names == [("checkout", 9), ("web", 5)], "those of another pool wait for something else"


def test_a_page_about_a_paused_pool_says_so_and_what_to_do():
    world = World()
    shop, logs = database("shop", paused=1), database("logs")
    held = pool("shop", "app", cl_waiting=3, wait=5.0)
    watch, _ = world.pooler(shown=pooled(held, pool("logs", "bi"), databases=(shop, logs)))
    (page,) = world.turn(watch)
    assert page.headline == "CRITICAL prod: shop is paused on pgb-1, 3 wait, longest 5.0 s"
    assert page.situation.arithmetic.startswith("paused: shop; pool shop/app: 0 of 25 server")
    assert {alert.action for alert in page.alerts} == {RESUME}
    rules = world.desk.board.poolers[0].book.alerts.values()
    actions = [each.annotations["action"] for each in rules if each.rule == "PoolerPaused"]
    assert actions == [RESUME], "a message says it once"


def test_a_pause_of_another_database_is_a_fact_and_no_headline():
    world = World()
    paused = (database("shop"), *(database(f"db{n}", paused=1) for n in range(7)))
    watch, _ = world.pooler(shown=replace(STUCK, all_databases=paused))
    (page,) = world.turn(watch)
    assert page.headline == "CRITICAL prod: a client waits 6.2 s in pool shop/app of pgb-1"
    assert page.situation.arithmetic.startswith("paused: db0, db1, db2, db3, db4 and 2 more; pool")
    assert RESUME not in {alert.action for alert in page.alerts}


def test_receivers_tell_who_waits():
    world = World()
    watch, _ = world.pooler(shown=STUCK)
    (page,) = world.turn(watch)
    slack = json.dumps(payload(page, addresses=False))
    assert "*Waiting in the pool*\\n\\u2022 `checkout (app on shop)`: 9" in slack
    assert "14 clients waiting" in slack
    assert details(page, addresses=False)["waiting_applications"] == [
        "checkout (app on shop): 9",
        "web (app on shop): 5",
    ]
    assert type(page).from_json(page.to_json()) == page


def test_two_poolers_of_a_server_are_two_incidents_and_one_escalates():
    world = World()
    first, source = world.pooler("pgb-1", pooled(pool(sv_active=24)))
    second, _ = world.pooler("pgb-2", STUCK)
    told = world.turn(first, second, times=10)
    assert [(n.family, n.severity.value) for n in told] == [
        ("pooler:pgb-2", "critical"),
        ("pooler:pgb-1", "warning"),
    ]
    assert len({n.dedup_key for n in told}) == 2
    source.shown = STUCK
    later = world.turn(first, second)[2:]
    assert [(n.family, n.transition) for n in later] == [("pooler:pgb-1", Transition.ESCALATED)]


def test_a_pooler_of_no_server_stands_for_itself():
    world = World()
    watch, _ = world.pooler("alone", STUCK, server=None)
    (page,) = world.turn(watch)
    assert page.server == "alone"
    (entry,) = world.desk.board.poolers
    assert entry.state.capacity is None


def test_a_console_that_does_not_let_us_in_pages_with_the_reason():
    world = World()
    watch, _ = world.pooler(shown=Failure(Reason.AUTH, "not allowed", "add the user"))
    warned, paged = world.turn(watch, times=31)
    assert (warned.severity, paged.severity) == (Severity.WARNING, Severity.CRITICAL)
    assert paged.headline == "CRITICAL prod: pooler pgb-1 not seen for 1m 0s: not allowed"
    first, *_ = words.actions(paged)
    assert first.startswith("Do what the reason asks for")
    assert words.doubts(paged.situation) == ["Polls fail: not allowed. add the user"]


def test_missing_data_resolves_nothing_and_is_an_incident_of_its_own(caplog):
    world = World()
    watch, source = world.pooler(shown=STUCK)
    world.turn(watch)
    source.shown = failure()
    told = world.turn(watch, times=60)
    assert [n.family for n in told] == ["pooler:pgb-1", *["pooler_reachability:pgb-1"] * 2]
    assert told[1].situation.failure.startswith("connection refused")
    assert told[2].severity is Severity.CRITICAL
    assert "poll failed" in [r.message for r in caplog.records if r.levelno == logging.WARNING]
    source.shown = CALM
    resolved = world.turn(watch, times=400)[3:]
    assert {(n.family, n.transition) for n in resolved} == {
        ("pooler:pgb-1", Transition.RESOLVED),
        ("pooler_reachability:pgb-1", Transition.RESOLVED),
    }
    assert all(n.headline.startswith("RESOLVED prod") for n in resolved)


def test_a_restart_tells_nothing_twice():
    journal = Kept()
    first = World(journal)
    watch, _ = first.pooler(shown=STUCK)
    assert len(first.turn(watch)) == 1
    watch.save()
    again = World(journal)
    again.now = first.now + 5
    restarted, source = again.pooler(shown=failure())
    assert len(again.turn(restarted)) == 1
    source.shown = STUCK
    assert len(again.turn(restarted)) == 1
    assert again.desk.board.poolers[0].book.incidents


def test_pools_that_are_larger_than_the_server():
    world = World()
    databases = pooled(pool("a"), pool("b"), pool("c"))
    poolers = [world.pooler(f"pgb-{n}", databases)[0] for n in (1, 2)]
    server = world.server()
    told = world.turn(*poolers, server, seconds=10.0, times=8)
    (page,) = [n for n in told if n.family == "pool_capacity"]
    assert page.headline == "WARNING prod: its poolers may open 154.6% of the connection slots"
    assert server.interval() == 2.0


def test_who_is_asked_when():
    world = World()
    watch, source = world.pooler()
    world.turn(watch)
    assert (watch.interval(), watch.probe_interval()) == (2.0, 30.0)
    source.shown = pooled(pool(sv_active=11))
    world.turn(watch)
    assert (watch.interval(), watch.probe_interval()) == (1.0, 30.0)
    source.shown = pooled(pool(sv_active=1, cl_waiting=1))
    world.turn(watch)
    assert (watch.interval(), watch.probe_interval()) == (1.0, 5.0)


@pytest.mark.parametrize(("reason", "pages"), [(None, 0), (Reason.LATE, 1)])
def test_a_probe_without_an_answer(reason, pages):
    world = World()
    watch, source = world.pooler()
    source.probe_reason = reason
    asyncio.run(watch.probe_turn())
    told = world.turn(watch, times=10)
    assert len(told) == pages
    if told:
        assert told[0].headline == "WARNING prod: a client of pgb-1 gets no answer (late)"


def test_reasons_of_a_probe_that_take_turns_are_one_failure():
    world = World()
    watch, source = world.pooler()
    for reason in (Reason.NETWORK, Reason.ERROR) * 3:
        source.probe_reason = reason
        asyncio.run(watch.probe_turn())
        told = world.turn(watch, seconds=2.5, times=2)
    (page,) = told
    assert page.headline.startswith("WARNING prod: a client of pgb-1 gets no answer (")
    assert [a.description.rpartition(". ")[2] for a in page.alerts] == [
        "The last one: Connection refused."
    ]
    (shown,) = (pooler_part(entry, world.now) for entry in world.desk.board.poolers)
    assert "gets no answer (error)" in shown


def test_a_restart_between_two_probes_pages_nobody():
    world = World()
    watch, source = world.pooler()
    for reason, seconds in ((None, 30.0), (Reason.NETWORK, 5.0), (None, 30.0)):
        source.probe_reason = reason
        asyncio.run(watch.probe_turn())
        assert watch.probe_interval() == seconds, (
            "a failure is looked at again before `for` is over"
        )
        assert world.turn(watch, seconds=1.0, times=round(seconds)) == []


def test_doubts_about_the_counts_are_said_once(caplog):
    world = World()
    facts = replace(CALM.facts, so_reuseport=True, local=False)
    watch, _ = world.pooler(shown=replace(CALM, facts=facts))
    world.turn(watch, times=3)
    said = [r for r in caplog.records if r.message == "pooler counts in doubt"]
    assert len(said) == 1


def test_a_reload_takes_up_thresholds_and_server():
    world = World()
    watch, _ = world.pooler(shown=pooled(pool(sv_active=24)))
    world.turn(watch)
    alerter = Alerter(Routing(ROUTES), Sender())
    watch.follow(PoolerPlan(Polling(), {}, alerter, "other", ("10.0.0.5:5432",), clients=True))
    assert world.turn(watch, times=20) == []
    state = world.desk.board.poolers[0].state
    assert (state.server, state.exports_clients) == ("other", True)
