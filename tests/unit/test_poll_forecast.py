"""What a forecast is measured against after an incident."""

from __future__ import annotations

import asyncio

import pytest

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.routing import Manner, Routing
from exporter.config.alerting import Route
from exporter.config.server import Forecast, Polling
from exporter.poll import Desk, Plan, Watch
from exporter.rules.evaluate import RuleSet
from exporter.rules.model import Rule
from tests.support.states import group, snapshot

FULL = Rule(
    "Full",
    "g",
    "pgheadroom_connections_free == 0",
    keep_firing_for_seconds=60,
    labels={"family": "connections", "severity": "critical"},
)


class Day:
    """A server whose slots are read once a second, and what a restart takes up."""

    def __init__(self, forecast=Forecast()):  # noqa: B008  frozen
        self.now, self.used, self.forecast = 1000.0, 0, forecast
        self.kept: dict[str, str] = {}
        self.load, self.save_soon = self.kept.get, self.kept.__setitem__
        self.board = Board()
        self.start()

    def start(self):
        desk = Desk(RuleSet((FULL,)), self.board, self, lambda: self.now)
        alerter = Alerter(Routing((Route(receiver="r"),), manners={"r": Manner()}), Sender())
        self.watch = Watch("db", self, Plan(Polling(), {}, self.forecast, alerter), desk)

    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        return snapshot(group(self.used), taken_at=now)

    async def probe(self, now):
        raise NotImplementedError

    async def commit(self, states, notifications):  # noqa: ARG002  the port's signature
        self.kept.update(states)

    def goes(self, *counts):
        """Whether the page forecast was given while the count went so, a second for each."""

        async def run():
            given = False
            for self.used in counts:
                self.now += 1
                await self.watch.turn()
                entry = self.board.get("db")
                assert entry is not None
                given |= "page" in entry.state.forecasts
            return given

        return asyncio.run(run())


CALM, BUSY, CLIMB = [40] * 700, [60] * 50 + [46] * 25, range(46, 66)


@pytest.mark.parametrize("restart", [False, True], ids=["running", "after a restart"])
def test_what_came_while_the_incident_was_kept_open_is_no_news(restart):
    day = Day()
    day.goes(*CALM, *[97] * 5, *BUSY)
    assert day.watch.book.incidents["connections"].ended_at is not None
    if restart:
        day.watch.save()
        day.start()
    assert not day.goes(*CLIMB), "60 had been there since the slots were full"
    assert day.goes(*range(66, 90)), "this had not"


def test_the_peak_of_an_incident_hides_no_later_ramp():
    day = Day()
    day.goes(*CALM, *[97] * 5, *[46] * 75)
    assert day.goes(*range(46, 80))


def test_a_clock_that_was_ahead_before_a_restart_hides_no_later_ramp():
    day = Day()
    day.goes(*CALM, *[97] * 5, *[46] * 75)
    day.watch.save()
    day.now -= 3600
    day.start()
    assert day.goes(*[46] * 60, *range(46, 80))


def test_the_growth_comes_with_the_window_that_it_is_measured_over():
    page = Forecast().page
    assert page is not None
    for window, of in ((60.0, page.model_copy(update={"window": 60.0})), (20.0, None)):
        day = Day(Forecast(page=of))
        day.goes(*[40] * 60, 44)
        entry = day.board.get("db")
        assert entry is not None
        assert entry.state.growth_window_seconds == window
