"""How often a server is polled follows from what the last polls took and how full it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing
from exporter.config.server import Forecast, Polling
from exporter.poll import Desk, Plan, Watch
from exporter.rules.evaluate import RuleSet
from exporter.snapshot.server import Probe, Reason
from tests.support.states import group, snapshot


class Polls:
    """A source whose polls take the given seconds, one every two seconds."""

    def __init__(self, used, seconds):
        self.used = used
        self.seconds = list(seconds)
        self.at = 1000.0
        self.reason = None

    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        self.at += 2.0
        made = snapshot(group(self.used), taken_at=self.at)
        return replace(made, poll_seconds=self.seconds.pop(0))

    async def probe(self, now):
        return Probe("direct", now, 0.1, self.reason)


class NoJournal:
    async def commit(self, states, notifications):
        raise NotImplementedError

    def save_soon(self, key, text):
        pass

    def load(self, key):  # noqa: ARG002  the port's signature
        return None


def watched(source):
    desk = Desk(RuleSet(()), Board(), NoJournal(), lambda: source.at)
    alerter = Alerter(Routing((), {}), Sender())
    return Watch("db", source, Plan(Polling(), {}, Forecast(), alerter), desk)


def interval(used, *seconds):
    watch = watched(Polls(used, seconds))

    async def turns():
        for _ in seconds:
            await watch.turn()

    asyncio.run(turns())
    return watch.interval()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.002], 2.0),
        ([1.9], 2.0),
        ([0.002, 0.002, 0.002, 0.002, 1.9], 2.0),
        ([1.9, 1.9, 1.9, 1.9, 0.002], 2.0),
        ([0.5, 0.4, 0.6, 0.5, 0.7], 4.0),
        ([1.9] * 5, 15.0),
    ],
)
def test_only_polls_that_stay_dear_are_done_less_often(seconds, expected):
    assert interval(10, *seconds) == pytest.approx(expected)


@pytest.mark.parametrize(("seconds", "expected"), [(0.002, 1.0), (0.15, 1.5), (1.9, 2.0)])
def test_nearly_full_it_is_never_polled_less_than_usual(seconds, expected):
    assert interval(90, *[seconds] * 5) == pytest.approx(expected)


def test_a_probe_that_failed_is_repeated_soon():
    source = Polls(10, [0.002])
    watch = watched(source)
    for reason, seconds in ((None, 30.0), (Reason.NETWORK, 5.0), (None, 30.0)):
        source.reason = reason
        asyncio.run(watch.probe_turn())
        assert watch.probe_interval() == seconds
