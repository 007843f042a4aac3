"""A failed poll in the log, in the series and on the board."""

from __future__ import annotations

import asyncio
import logging

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing
from exporter.config.server import Forecast, Polling
from exporter.poll import Desk, Plan, Watch
from exporter.rules.evaluate import RuleSet
from exporter.rules.model import Rule
from exporter.snapshot.server import Probe, Reason
from exporter.sources.errors import SourceError
from tests.support.launch_day import eventually
from tests.support.states import failure, group, snapshot

ALERTER = Alerter(Routing((), {}), Sender())


class Journal:
    async def commit(self, states, notifications):
        raise NotImplementedError

    def save_soon(self, key, text):
        pass

    def load(self, key):  # noqa: ARG002  the port's signature
        return None


class Answers:
    """A source that gives what it is told, or raises it; it can be made to wait."""

    def __init__(self, *script):
        self.script = list(script)
        self.go = asyncio.Event()
        self.go.set()
        self.asked = 0

    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        self.asked += 1
        await self.go.wait()
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def probe(self, now):
        raise NotImplementedError


def plan(tried="role@host:5432/db", **thresholds):
    return Plan(Polling(), thresholds, Forecast(), ALERTER, tried)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def watch_over(source, clock=None):
    desk = Desk(RuleSet(()), Board(), Journal(), clock or Clock())
    return Watch("db", source, plan(), desk), desk


def test_failures_are_logged_once_and_then_counted_every_five_minutes(caplog):
    caplog.set_level(logging.INFO)
    clock = Clock()
    source = Answers(*[SourceError(failure()) for _ in range(400)], snapshot(group(3)))
    watch, desk = watch_over(source, clock)

    async def turns():
        for _ in range(401):
            await watch.turn()
            clock.now += 2

    asyncio.run(turns())
    lines = [(each.message, getattr(each, "count", "")) for each in caplog.records]
    assert lines == [
        ("poll failed", ""),
        ("polls go on failing", "150"),
        ("polls go on failing", "150"),
        ("seen again", ""),
    ]
    first = caplog.records[0]
    assert (first.server, first.tried, first.hint) == ("db", "role@host:5432/db", "check the port")
    state = desk.board.get("db").state
    assert state.up
    assert sum(state.failures.values()) == 400


def test_what_a_probe_sees_after_it_was_switched_off_is_not_remembered():
    class Slow(Answers):
        async def probe(self, now):
            await self.go.wait()
            return Probe("direct", now, 0.1, Reason.LATE, "no answer in time")

    async def scenario():
        source = Slow(snapshot(group(3)))
        watch, desk = watch_over(source)
        source.go.clear()
        trying = asyncio.create_task(watch.probe_turn())
        await asyncio.sleep(0)
        watch.forget_probes()
        source.go.set()
        await trying
        await watch.turn()
        return desk.board.get("db").state.probes

    assert asyncio.run(scenario()) == {}


def test_what_a_replaced_source_still_answers_is_not_looked_at():
    async def scenario(answer):
        old, new = Answers(answer), Answers(snapshot(group(5), taken_at=1001.0))
        watch, desk = watch_over(old)
        old.go.clear()
        turn = asyncio.create_task(watch.turn())
        await asyncio.sleep(0)
        watch.use(new)
        old.go.set()
        await turn
        before = desk.board.get("db")
        await watch.turn()
        return before, desk.board.get("db")

    for answer in (SourceError(failure()), snapshot(group(97))):
        before, after = asyncio.run(scenario(answer))
        assert before.turns == 0
        assert before.state.snapshot is before.state.failure is None
        assert after.state.snapshot.used == 5


def test_a_retired_watch_asks_and_decides_nothing_more():
    async def scenario():
        source = Answers(snapshot(group(5)), snapshot(group(6)))
        watch, desk = watch_over(source)
        source.go.clear()
        turn = asyncio.create_task(watch.turn())
        await asyncio.sleep(0)
        watch.retire()
        source.go.set()
        await turn
        await watch.turn()
        return source.asked, desk.board.get("db").turns

    assert asyncio.run(scenario()) == (1, 0)


def test_another_plan_changes_thresholds_and_keeps_what_is_known():
    async def scenario():
        source = Answers(snapshot(group(5)))
        watch, desk = watch_over(source)
        await watch.turn()
        watch.follow(plan(connections_critical=0.5))
        await watch.review()
        return desk.board.get("db").state

    state = asyncio.run(scenario())
    assert state.thresholds == {"connections_critical": 0.5}
    assert state.snapshot.used == 5


def test_what_is_due_is_told_while_a_failing_endpoint_takes_its_time():
    rule = Rule("Unseen", "g", "pgheadroom_up == 0", for_seconds=15)

    async def scenario():
        clock = Clock()
        source = Answers(SourceError(failure()), SourceError(failure()))
        desk = Desk(RuleSet((rule,)), Board(), Journal(), clock)
        polling = Polling(interval=0.02)
        watch = Watch("db", source, Plan(polling, {}, Forecast(), ALERTER), desk)
        await watch.turn()
        source.go.clear()
        turn = asyncio.create_task(watch.turn())
        clock.now += 15
        await eventually(lambda: watch.book.incidents, 10, "what is due")
        assert not turn.done()
        source.go.set()
        await turn

    asyncio.run(scenario())
