"""A server's turn: its snapshot, its history and forecast, who grew, and how often to look."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from exporter.alerting.alerter import Alerter, Decision
from exporter.alerting.board import Entry
from exporter.alerting.incidents import Incident
from exporter.alerting.message import Before
from exporter.config.server import Forecast, Polling
from exporter.metrics.families import Families
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.poll.desk import Desk
from exporter.poll.turns import Turns
from exporter.snapshot.activity import Activity
from exporter.snapshot.attribution import Attributed
from exporter.snapshot.codec import (
    history_from_json,
    history_to_json,
    snapshot_from_json,
    snapshot_to_json,
)
from exporter.snapshot.forecast import GROWTH_WINDOW, Forecaster, growth_per_second, retentions
from exporter.snapshot.history import History, Sample
from exporter.snapshot.holders import HolderKey, holdings
from exporter.snapshot.server import Probe, ServerState, Snapshot

#: What is kept of each server, under PART/NAME.
KEPT = ("alerts", "incidents", "history", "snapshot")
#: Older data says nothing about now; it is not republished after a restart.
RESTORE_SECONDS = 600.0
#: Growers are told over a minute, read every few seconds.
GROWTH_SECONDS = 60.0
GROWTH_STEP_SECONDS = 5.0
#: Above this share of the usable slots the probe runs at its busy interval (DESIGN, connect probe).
PROBE_BUSY_RATIO = 0.70
#: Slots gained per second, as a share of the usable ones, that counts as climbing.
CLIMBING_RATIO = 0.002


class Source(Protocol):
    """Where snapshots and probes come from."""

    async def poll(self, now: float, *, expected_used_ratio: float | None) -> Snapshot:
        """One snapshot, or a `SourceError`."""

    async def probe(self, now: float) -> Probe:
        """What a new client sees."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration says of the watch over one server."""

    polling: Polling
    thresholds: Mapping[str, float]
    forecast: Forecast
    alerter: Alerter
    tried: str = ""
    """Where its polls go, without secrets."""


class Watch(Turns[ServerState]):
    """One server: its source, its memory, and its turns."""

    def __init__(self, name: str, source: Source, plan: Plan, desk: Desk) -> None:
        state = ServerState(name, thresholds=dict(plan.thresholds))
        super().__init__(name, name, plan.polling, state, plan.alerter, desk)
        self.tried = plan.tried
        self._source = source
        self._forecast = plan.forecast
        self._forecaster = Forecaster(plan.forecast)
        self._caps = Caps()
        self._holdings: deque[tuple[float, dict[HolderKey, int]]] = deque()
        self._quiet_since: float | None = None
        """When the conditions of the last connections incident ceased."""
        self._history = History(retentions=retentions(plan.forecast))
        self._restore()
        desk.board.put(Entry(self._state, book=self._book))

    def follow(self, plan: Plan) -> None:
        """Go on with another plan; the history, the alerts and the incidents stay."""
        self._polling, self._alerter, self.tried = plan.polling, plan.alerter, plan.tried
        self._rename()
        self._state = replace(self._state, thresholds=dict(plan.thresholds))
        if plan.forecast != self._forecast:
            self._forecast = plan.forecast
            self._forecaster = Forecaster(plan.forecast)
            self._history = History(self._history, retentions=retentions(plan.forecast))

    def use(self, source: Source) -> None:
        """Read from `source` from now on; what the one before still answers is not looked at."""
        self._source = source
        self._sources += 1

    @property
    def activity(self) -> Activity | None:
        """Who is connected, None while polls fail."""
        snapshot = self._state.snapshot if self._state.up else None
        return None if snapshot is None else snapshot.activity

    @property
    def idle_limit(self) -> float:
        """Seconds after which an idle transaction is an alert; infinite where it never is."""
        return self._state.thresholds.get("idle_in_transaction_seconds", math.inf)

    def attribute(self, attributed: Attributed) -> None:
        """See `Turns`; who asked wants to read it on the board at once."""
        super().attribute(attributed)
        known = self._desk.board.get(self.name)
        if known is not None:
            self._desk.board.put(replace(known, state=self._state))

    def interval(self) -> float:
        """Seconds until the next turn: shorter when it matters, longer when polling is dear."""
        if self._state.snapshot is None:
            return self._polling.interval
        return self._paced(busy=self._busy)

    @property
    def _busy(self) -> bool:
        """Whether the slots are filling up, or many are taken."""
        snapshot = self._state.snapshot
        if snapshot is None:
            return False
        growth = self._state.growth_per_second or 0.0
        climbing = growth > CLIMBING_RATIO * snapshot.facts.limits.usable
        return climbing or (self._used_ratio() or 0.0) > self._polling.busy_above

    @property
    def _calm(self) -> bool:
        return super()._calm and not self._busy

    def probe_interval(self) -> float:
        """Seconds until the next connect probe."""
        return self._probed(busy=(self._used_ratio() or 0.0) > PROBE_BUSY_RATIO)

    @property
    def _keys(self) -> Mapping[str, str]:
        return {"server": self.name}

    async def _poll(self, now: float) -> None:
        source = self._source
        snapshot = await source.poll(now, expected_used_ratio=self._used_ratio())
        if source is not self._source or self._retired:
            return
        self._seen(snapshot.poll_seconds)
        self._history.add(Sample(snapshot.taken_at, snapshot.used))
        self._remember_holdings(snapshot)
        usable = snapshot.facts.limits.usable
        page = self._forecast.page
        growth_window = page.window if page else GROWTH_WINDOW
        self._state = replace(
            self._state,
            snapshot=snapshot,
            failure=None,
            failing_since=None,
            growth_per_second=growth_per_second(self._history, growth_window),
            growth_window_seconds=growth_window,
            forecasts=self._forecaster.update(self._history, usable, self._quiet_since),
        )

    async def _probe(self, now: float) -> Probe:
        return await self._source.probe(now)

    def _families(self, now: float) -> Families:
        capacity = self._desk.board.pool_capacity(self.name)
        self._state = replace(self._state, pool_capacity=capacity)
        return server_families(self._state, self._caps, now)

    def _put(self, families: Families, now: float) -> None:
        self._desk.board.put(Entry(self._state, families, self._book, self._before(now)))

    def _decided(self, decision: Decision) -> None:
        for incident in decision.ended:
            self._remember_end(incident)

    def _remember_end(self, incident: Incident) -> None:
        if incident.family == "connections":
            self._quiet_since = incident.quiet_since

    def _kept(self) -> dict[str, str]:
        """The book, the history and the last snapshot."""
        kept = {"history": history_to_json(self._history), **super()._kept()}
        if self._state.snapshot is not None:
            kept["snapshot"] = snapshot_to_json(self._state.snapshot)
        return kept

    def _used_ratio(self) -> float | None:
        snapshot = self._state.snapshot
        return None if snapshot is None else snapshot.facts.limits.used_ratio(snapshot.used)

    def _remember_holdings(self, snapshot: Snapshot) -> None:
        at = snapshot.taken_at
        if not self._holdings or at - self._holdings[-1][0] >= GROWTH_STEP_SECONDS:
            self._holdings.append((at, holdings(snapshot.activity)))
        while self._holdings[0][0] < at - GROWTH_SECONDS:
            self._holdings.popleft()

    def _before(self, now: float) -> Before | None:
        if not self._holdings:
            return None
        at, held = self._holdings[0]
        return Before(held, max(0.0, now - at))

    def _restore(self) -> None:
        """Take up what the last run knew; what cannot be read is said once and left behind."""
        load, now = self._desk.journal.load, self._desk.clock()
        try:
            self._restore_book()
            for incident in self._book.incidents.values():
                self._remember_end(incident)
            if self._quiet_since is not None:
                # A clock that was ahead before the restart must not hide what is to come.
                self._quiet_since = min(self._quiet_since, now)
            for sample in history_from_json(load(f"history/{self.key}") or "[]", now):
                self._history.add(sample)
            text = load(f"snapshot/{self.key}")
            snapshot = snapshot_from_json(text) if text else None
        except ValueError as error:
            self._anew(error)
            return
        if snapshot is not None and 0 <= now - snapshot.taken_at <= RESTORE_SECONDS:
            self._state = replace(self._state, snapshot=snapshot)
