"""What fires on one endpoint is known to the decisions about the others, from the start on."""

from __future__ import annotations

import asyncio

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.muting import Muting
from exporter.alerting.routing import Routing
from exporter.config.alerting import Route
from exporter.config.muting import Inhibition
from exporter.config.server import Forecast, Polling
from exporter.poll import Desk, Plan, Silencing, Watch
from exporter.poll.quiet import Quiet
from exporter.rules.evaluate import RuleSet
from exporter.rules.model import Rule
from tests.support.states import group, snapshot

HIGH = Rule("High", "g", "pgheadroom_connections_used > 50",
            labels={"severity": "warning", "family": "connections"})  # fmt: skip
BIG_MUTES_SMALL = Inhibition.model_validate(
    {"source": ['server="big"'], "target": ['server="small"'], "equal": []}
)


class Source:
    def __init__(self, house):
        self.house = house
        self.used = 0

    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        return snapshot(group(self.used), taken_at=now)

    async def probe(self, now):
        raise NotImplementedError


class House:
    """Two servers on one desk, with a journal that outlives them."""

    def __init__(self, kept=None):
        self.now = 1000.0
        self.wrong = 0.0
        """How far the machine's clock is ahead."""
        self.kept = {} if kept is None else kept
        self.told: list[tuple[str, str]] = []
        quiet = Quiet(lambda: self.now + self.wrong)
        self.desk = Desk(RuleSet((HIGH,)), Board(), self, lambda: self.now, quiet)
        self.silencing = Silencing(quiet, self)
        routing = Routing((Route(receiver="slack"),))
        alerter = Alerter(routing, Sender(), Muting((), (BIG_MUTES_SMALL,)))
        plan = Plan(Polling(), {}, Forecast(), alerter)
        self.sources = {name: Source(self) for name in ("small", "big")}
        self.watches = {
            name: Watch(name, source, plan, self.desk) for name, source in self.sources.items()
        }

    async def commit(self, states, notifications):
        self.kept |= states
        self.told += [(told.server, told.transition.value) for _, told in notifications]
        return ""

    def save_soon(self, key, text):
        self.kept[key] = text

    def load(self, key):
        return self.kept.get(key)

    def poll(self, name, used):
        self.now += 2
        self.sources[name].used = used
        asyncio.run(self.watches[name].turn())
        told, self.told = self.told, []
        return told

    def muted(self, name):
        entry = self.desk.board.get(name)
        assert entry is not None
        return [alert.muted_by for alert in entry.book.alerts.values()]


def test_one_server_inhibits_another_and_lets_go_when_its_alert_ends():
    house = House()
    assert house.poll("big", 60) == [("big", "opened")]
    assert house.poll("small", 60) == []
    assert house.muted("small") == ["inhibited by High"]
    assert house.poll("big", 10) == [("big", "resolved")]
    assert house.poll("small", 60) == [("small", "opened")]


def test_a_restart_does_not_tell_what_is_inhibited():
    house = House()
    house.poll("big", 60)
    house.poll("small", 60)
    for watch in house.watches.values():
        watch.save()
    again = House(house.kept)
    again.now = house.now
    assert again.poll("small", 60) == []
    assert again.muted("small") == ["inhibited by High"]


def test_a_server_that_is_no_longer_watched_inhibits_nothing():
    house = House()
    house.poll("big", 60)
    house.watches["big"].retire()
    assert house.poll("small", 60) == [("small", "opened")]


def test_a_silence_holds_from_the_next_poll_on_and_over_a_restart():
    house = House()
    asked = {"matchers": ['server="big"'], "author": "a", "comment": "c", "duration": 60}
    made = asyncio.run(house.silencing.add(asked))
    assert house.poll("big", 60) == []
    assert house.muted("big") == [f"silence {made.silence.id}"]
    house.watches["big"].save()
    again = House(house.kept)
    again.now = house.now
    assert again.poll("big", 60) == []
    asyncio.run(again.silencing.expire(made.silence.id))
    assert again.poll("big", 60) == [("big", "opened")]


def test_a_silence_holds_by_the_machines_clock():
    house = House()
    house.wrong = -3600.0
    asked = {"matchers": ['server="big"'], "author": "a", "comment": "c", "duration": 4000}
    asyncio.run(house.silencing.add(asked))
    assert house.poll("big", 60) == []
    house.wrong = 0.0
    assert house.silencing.active == 1
    house.now += 398
    assert house.poll("big", 60) == [("big", "opened")]
    assert house.silencing.active == 0
