"""A pooler's turn: its snapshot, what clients waited, and what it may ask of its server."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from exporter.alerting.alerter import Alerter
from exporter.alerting.board import PoolerEntry
from exporter.config.server import Polling
from exporter.metrics.families import Families
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.poll.desk import Desk
from exporter.poll.turns import Turns
from exporter.snapshot.pool import PoolerSnapshot
from exporter.snapshot.pooler import PoolerState, Waits, observed
from exporter.snapshot.server import Probe

log = logging.getLogger(__name__)

#: Above this share of a pool the probe runs at its busy interval, as it does while clients wait.
PROBE_BUSY_RATIO = 0.70


def pooler_key(name: str) -> str:
    """Under which the journal and the schedule know a pooler; no server's name has a space."""
    return f"pooler {name}"


class PoolerSource(Protocol):
    """Where snapshots and probes of a pooler come from."""

    async def poll(self, now: float) -> PoolerSnapshot:
        """One snapshot, or a `SourceError`."""

    async def probe(self, now: float) -> Probe:
        """What a client of a pool sees."""


@dataclass(frozen=True, slots=True)
class PoolerPlan:
    """What the configuration says of the watch over one pooler.

    `server` is the watched server that it stands in front of, `addresses` where that one is
    (HOST:PORT); None and empty where the configuration names none.
    """

    polling: Polling
    thresholds: Mapping[str, float]
    alerter: Alerter
    server: str | None = None
    addresses: tuple[str, ...] = ()
    clients: bool = False
    tried: str = ""
    """Where its polls go, without secrets."""


class PoolerWatch(Turns[PoolerState]):
    """One pooler: its source, its memory, and its turns."""

    def __init__(self, name: str, source: PoolerSource, plan: PoolerPlan, desk: Desk) -> None:
        state = PoolerState(
            plan.server or name,
            name,
            thresholds=dict(plan.thresholds),
            exports_clients=plan.clients,
        )
        super().__init__(name, pooler_key(name), plan.polling, state, plan.alerter, desk)
        self.tried = plan.tried
        self._source = source
        self._plan = plan
        self._caps = PoolerCaps()
        self._waits = Waits()
        try:
            self._restore_book()
        except ValueError as error:
            self._anew(error)
        desk.board.put_pooler(PoolerEntry(self._state, book=self._book))

    def follow(self, plan: PoolerPlan) -> None:
        """Go on with another plan; the alerts and the incidents stay."""
        self._plan, self._polling, self._alerter = plan, plan.polling, plan.alerter
        self.tried = plan.tried
        self._rename()
        self._state = replace(
            self._state,
            server=plan.server or self.name,
            thresholds=dict(plan.thresholds),
            exports_clients=plan.clients,
        )

    def use(self, source: PoolerSource) -> None:
        """Read from `source` from now on; what the one before still answers is not looked at."""
        self._source = source
        self._sources += 1

    @property
    def snapshot(self) -> PoolerSnapshot | None:
        """The last good one."""
        return self._state.snapshot

    @property
    def addresses(self) -> tuple[str, ...]:
        """HOST:PORT of the server that it stands in front of."""
        return self._plan.addresses

    def interval(self) -> float:
        """Seconds until the next turn: shorter while clients wait or a pool fills up."""
        return self._paced(busy=self._fullest() > self._polling.busy_above)

    def probe_interval(self) -> float:
        """Seconds until the next connect probe."""
        return self._probed(busy=self._fullest() > PROBE_BUSY_RATIO)

    @property
    def _keys(self) -> Mapping[str, str]:
        return {"pooler": self.name}

    async def _poll(self, now: float) -> None:
        source = self._source
        snapshot = await source.poll(now)
        if source is not self._source or self._retired:
            return
        self._seen(snapshot.poll_seconds)
        before = self._state.warnings
        addresses = None if self._plan.server is None else self._plan.addresses
        waits = self._waits.update(now, snapshot.stats)
        self._state = replace(observed(self._state, snapshot, addresses), waits=waits)
        self._warn(before)

    async def _probe(self, now: float) -> Probe:
        return await self._source.probe(now)

    def _families(self, now: float) -> Families:
        return pooler_families(self._state, self._caps, now)

    def _put(self, families: Families, now: float) -> None:  # noqa: ARG002  as for servers
        self._desk.board.put_pooler(PoolerEntry(self._state, families, self._book))

    def _fullest(self) -> float:
        """The highest use of a pool, as a share; 1 while somebody waits."""
        snapshot = self._state.snapshot
        if snapshot is None:
            return 0.0
        if any(pool.cl_waiting for pool in snapshot.pools):
            return 1.0
        return max((use.ratio for use in snapshot.pool_use()), default=0.0)

    def _warn(self, before: tuple[str, ...]) -> None:
        """Say each warning once, and again after it was gone."""
        for warning in self._state.warnings:
            if warning not in before:
                log.warning("pooler counts in doubt", extra={**self._keys, "detail": warning})
