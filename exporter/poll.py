"""One turn for one server: fetch, derive, store, evaluate, enqueue."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.board import Board, Entry
from exporter.alerting.message import Before
from exporter.alerting.notification import Notification
from exporter.config.server import Forecast, Polling
from exporter.metrics.families import Families
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.rules.evaluate import Index, RuleSet
from exporter.snapshot.codec import (
    history_from_json,
    history_to_json,
    snapshot_from_json,
    snapshot_to_json,
)
from exporter.snapshot.forecast import Forecaster, growth_per_second
from exporter.snapshot.history import History, Sample
from exporter.snapshot.holders import HolderKey, holdings
from exporter.snapshot.server import Failure, Probe, Reason, ServerState, Snapshot
from exporter.sources.errors import SourceError

log = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
#: What is kept of each server, under PART/NAME.
KEPT = ("alerts", "incidents", "history", "snapshot")
#: Older data says nothing about now; it is not republished after a restart.
RESTORE_SECONDS = 600.0
#: Growers are told over a minute, read every few seconds.
GROWTH_SECONDS = 60.0
GROWTH_WINDOW_SECONDS = 20.0
GROWTH_STEP_SECONDS = 5.0
#: Polling may take this part of the time at most before it is done less often. One dear poll is a
#: login, a lock or a moment's pause; only when each of the last few was dear is it polling itself.
DEAR_RATIO = 0.1
DEAR_POLLS = 5
SLOWEST_SECONDS = 15.0
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


class Journal(Protocol):
    """Where what must not be lost goes."""

    async def commit(
        self, states: Mapping[str, str], notifications: Sequence[tuple[str, Notification]]
    ) -> None:
        """Keep the states and send the notifications, the disk first as long as it answers."""

    def save_soon(self, key: str, text: str) -> None:
        """Keep `text` under `key` when there is time."""

    def load(self, key: str) -> str | None:
        """What was kept under `key`."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all watches of the process share."""

    rules: RuleSet
    board: Board
    journal: Journal
    clock: Callable[[], float]


class Watch:
    """One server: its source, its memory, and its turns."""

    def __init__(  # noqa: PLR0913, PLR0917  the parts of one server, each made by the app
        self,
        name: str,
        source: Source,
        polling: Polling,
        thresholds: Mapping[str, float],
        forecast: Forecast,
        alerter: Alerter,
        desk: Desk,
    ) -> None:
        self.name = name
        self._source = source
        self._polling = polling
        self._forecaster = Forecaster(forecast)
        self._growth_window = forecast.page.window if forecast.page else GROWTH_WINDOW_SECONDS
        self._alerter = alerter
        self._desk = desk
        self._caps = Caps()
        self._failures: Counter[Reason] = Counter()
        self._holdings: deque[tuple[float, dict[HolderKey, int]]] = deque()
        self._poll_seconds: deque[float] = deque(maxlen=DEAR_POLLS)
        self._saved_at = float("-inf")
        self._ended_at: float | None = None
        self._book = Book()
        self._history = History()
        self._state = ServerState(name, thresholds=dict(thresholds))
        self._restore()
        desk.board.put(Entry(self._state, book=self._book))

    async def turn(self) -> None:
        """Poll once, and decide. Never raises for what a server does."""
        now = self._desk.clock()
        try:
            snapshot = await self._source.poll(now, expected_used_ratio=self._used_ratio())
        except SourceError as error:
            self._failed(error.failure, self._desk.clock())
        else:
            self._succeeded(snapshot)
        await self._evaluate(self._desk.clock())

    async def probe_turn(self) -> None:
        """Let a new client try; the next turn evaluates what it saw."""
        probe = await self._source.probe(self._desk.clock())
        known = self._state.probes.get(probe.via)
        if probe.reason is not (known.reason if known else None):
            keys = {"server": self.name, "via": probe.via, "reason": probe.reason or "none"}
            log.warning("connect probe changed", extra={**keys, "detail": probe.message})
        self._state = replace(self._state, probes={**self._state.probes, probe.via: probe})

    def interval(self) -> float:
        """Seconds until the next turn: shorter when it matters, longer when polling is dear."""
        polling, snapshot = self._polling, self._state.snapshot
        if snapshot is None:
            return polling.interval
        growth = self._state.growth_per_second or 0.0
        climbing = growth > CLIMBING_RATIO * snapshot.facts.limits.usable
        busy = climbing or (self._used_ratio() or 0.0) > polling.busy_above
        dear = min(self._poll_seconds) if len(self._poll_seconds) == DEAR_POLLS else 0.0
        if busy:
            # Polls get dear when clients storm in; that is no time to look away.
            soonest = min(polling.interval, polling.busy_interval)
            return max(soonest, min(dear / DEAR_RATIO, polling.interval))
        return max(polling.interval, min(dear / DEAR_RATIO, SLOWEST_SECONDS))

    def probe_interval(self) -> float:
        """Seconds until the next connect probe."""
        busy = (self._used_ratio() or 0.0) > PROBE_BUSY_RATIO
        return self._polling.probe_busy_interval if busy else self._polling.probe_interval

    def save(self) -> None:
        """Keep the history and the last snapshot for the next start."""
        save = self._desk.journal.save_soon
        save(f"history/{self.name}", history_to_json(self._history))
        for part, text in self._book.to_json().items():
            save(f"{part}/{self.name}", text)
        if self._state.snapshot is not None:
            save(f"snapshot/{self.name}", snapshot_to_json(self._state.snapshot))

    def _used_ratio(self) -> float | None:
        snapshot = self._state.snapshot
        return None if snapshot is None else snapshot.facts.limits.used_ratio(snapshot.used)

    def _succeeded(self, snapshot: Snapshot) -> None:
        if self._state.failure is not None:
            log.info("server seen again", extra={"server": self.name})
        self._history.add(Sample(snapshot.taken_at, snapshot.used))
        self._poll_seconds.append(snapshot.poll_seconds)
        self._remember_holdings(snapshot)
        usable = snapshot.facts.limits.usable
        self._state = replace(
            self._state,
            snapshot=snapshot,
            failure=None,
            failing_since=None,
            growth_per_second=growth_per_second(self._history, self._growth_window),
            forecasts=self._forecaster.update(self._history, usable, self._ended_at),
        )

    def _failed(self, failure: Failure, now: float) -> None:
        self._failures[failure.reason] += 1
        known = self._state.failure
        if known is None or known.reason is not failure.reason:
            keys = {"server": self.name, "reason": failure.reason.value}
            log.warning(
                "poll failed", extra={**keys, "detail": failure.message, "hint": failure.hint}
            )
        since = self._state.failing_since
        self._state = replace(
            self._state,
            failure=failure,
            failing_since=now if since is None else since,
            failures=dict(self._failures),
        )

    async def _evaluate(self, now: float) -> None:
        families = server_families(self._state, self._caps, now)
        results = self._desk.rules.evaluate(Index.of(families))
        before = self._before(now)
        decision = self._alerter.decide(
            self._book,
            results,
            self._state,
            before,
            now,
            observed=self._state.snapshot is not None,
        )
        self._book = decision.book
        if any(incident.family == "connections" for incident in decision.ended):
            self._ended_at = now
        self._desk.board.put(Entry(self._state, families, self._book, before))
        if decision.notifications or decision.ended:
            states = {f"{part}/{self.name}": text for part, text in self._book.to_json().items()}
            await self._desk.journal.commit(states, decision.notifications)
        if now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            self.save()

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
            self._book = Book.from_json(load(f"alerts/{self.name}"), load(f"incidents/{self.name}"))
            for sample in history_from_json(load(f"history/{self.name}") or "[]", now):
                self._history.add(sample)
            text = load(f"snapshot/{self.name}")
            snapshot = snapshot_from_json(text) if text else None
        except ValueError as error:
            keys = {"server": self.name, "error": str(error)}
            log.warning("kept state not understood, beginning anew", extra=keys)
            return
        if snapshot is not None and 0 <= now - snapshot.taken_at <= RESTORE_SECONDS:
            self._state = replace(self._state, snapshot=snapshot)


class SelfWatch:
    """pgheadroom's watch over itself: the same decisions, over series that no server has."""

    def __init__(self, families: Callable[[], Families], alerter: Alerter, desk: Desk) -> None:
        self._families = families
        self._alerter = alerter
        self._desk = desk
        load = desk.journal.load
        try:
            self.book = Book.from_json(load("alerts"), load("incidents"))
        except ValueError as error:
            log.warning("kept state not understood, beginning anew", extra={"error": str(error)})
            self.book = Book()

    async def turn(self) -> None:
        """Evaluate the rules about pgheadroom, and decide."""
        now = self._desk.clock()
        results = self._desk.rules.evaluate(Index.of(self._families()))
        # An observed server without slots: absence is evidence here, and no numbers are claimed.
        state = ServerState("pgheadroom")
        decision = self._alerter.decide(self.book, results, state, None, now, observed=True)
        self.book = decision.book
        if decision.notifications or decision.ended:
            await self._desk.journal.commit(self.book.to_json(), decision.notifications)
