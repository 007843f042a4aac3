"""What is kept for the next start, and how often."""

from __future__ import annotations

import asyncio

import pytest

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing
from exporter.config.alerting import Route
from exporter.config.server import Forecast, Polling
from exporter.poll import Desk, Plan, Watch
from exporter.rules.evaluate import RuleSet
from exporter.rules.model import Rule
from exporter.snapshot.codec import snapshot_from_json
from tests.support.states import group, snapshot

FULL = Rule("Full", "g", "pgheadroom_connections_free == 0", labels={"severity": "critical"})
SOON = Rule("Soon", "g", "pgheadroom_connections_used > 20", for_seconds=3600)


class Journal:
    """Counts what is kept, and when by the number of the turn."""

    def __init__(self):
        self.turn = 0
        self.saved: dict[str, list[int]] = {}
        self.committed: list[dict[str, str]] = []

    async def commit(self, states, notifications):
        assert notifications
        self.committed.append(states)

    def save_soon(self, key, text):  # noqa: ARG002  the port's signature
        self.saved.setdefault(key, []).append(self.turn)

    def load(self, key):  # noqa: ARG002  the port's signature
        return None


class Source:
    """One reading a second of so many slots."""

    def __init__(self, counts):
        self.counts = counts
        self.now = 1000.0

    async def poll(self, now, *, expected_used_ratio):  # noqa: ARG002  the port's signature
        self.now += 1
        used = self.counts[min(int(self.now - 1001), len(self.counts) - 1)]
        return snapshot(group(used), taken_at=self.now)

    async def probe(self, now):
        raise NotImplementedError


def kept(counts, turns, *rules):
    source, journal = Source(counts), Journal()
    desk = Desk(RuleSet(rules), Board(), journal, lambda: source.now)
    alerter = Alerter(Routing((Route(receiver="r"),)), Sender())
    watch = Watch("db", source, Plan(Polling(), {}, Forecast(), alerter), desk)

    async def run():
        for journal.turn in range(turns):
            await watch.turn()

    asyncio.run(run())
    return journal


def test_a_calm_server_is_kept_once_a_minute():
    found = kept([10], 121)
    assert set(found.saved) == {
        f"{part}/db" for part in ("alerts", "incidents", "history", "snapshot")
    }
    assert set(map(tuple, found.saved.values())) == {(0, 60, 120)}


@pytest.mark.parametrize(
    ("counts", "rules"),
    [([60], ()), ([1 + turn // 2 for turn in range(60)], ()), ([21], (SOON,))],
    ids=["many slots taken", "climbing", "an alert is pending"],
)
def test_one_where_something_goes_on_is_kept_every_few_seconds(counts, rules):
    turns = kept(counts, 60, *rules).saved["snapshot/db"]
    # Growth is known after some seconds.
    assert {b - a for a, b in zip(turns[-4:], turns[-3:], strict=False)} == {5}


def test_what_is_told_is_kept_with_what_it_was_told_of():
    found = kept([10] * 30 + [97], 32, FULL)
    (states,) = found.committed
    assert snapshot_from_json(states["snapshot/db"]).used == 97
    assert '"Full"' in states["incidents/db"]
