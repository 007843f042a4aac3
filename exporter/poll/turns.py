"""What the turns of a server and of a pooler have in common.

A turn polls, and decides whatever came of it: rules over the series, alerts, incidents, and a
commit of what must be told. A failed poll keeps the last good snapshot, so nothing resolves because
nobody looked.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Generic, TypeVar

from exporter.alerting.alerter import Alerter, Book, Decision
from exporter.alerting.message import Before
from exporter.config.server import Polling
from exporter.metrics.families import Families
from exporter.poll.desk import Desk
from exporter.rules.evaluate import Index
from exporter.snapshot.attribution import Attributed
from exporter.snapshot.failing import Failing, News, explained
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Failure, Probe, ServerState
from exporter.sources.errors import SourceError

log = logging.getLogger(__name__)

#: What a restart takes up is kept this often, and seldom while nothing goes on: hundreds of calm
#: endpoints would otherwise write gigabytes a day.
SAVE_SECONDS, CALM_SAVE_SECONDS = 5.0, 60.0
#: Polling may take this part of the time at most before it is done less often. One dear poll is a
#: login, a lock or a moment's pause; only when each of the last few was dear is it polling itself.
DEAR_RATIO = 0.1
DEAR_POLLS = 5
SLOWEST_SECONDS = 15.0

State = TypeVar("State", ServerState, PoolerState)


class Turns(ABC, Generic[State]):
    """One endpoint: its memory, and its turns.

    Args:
        name: of the server or pooler.
        key: under which the journal keeps what belongs to it.
        polling: how often, and for how long.
        state: what is known before the first poll.
        alerter: decides what is told.
        desk: what all watches share.
    """

    def __init__(  # noqa: PLR0913, PLR0917  the parts of one endpoint, each made by the app
        self, name: str, key: str, polling: Polling, state: State, alerter: Alerter, desk: Desk
    ) -> None:
        self.name = name
        self.key = key
        self._polling = polling
        self._state: State = state
        self._alerter = alerter
        self._desk = desk
        self.tried = ""
        """Where polls go, without secrets, for people who read why they fail."""
        self._failing = Failing()
        self._retired = False
        self._sources = 0
        """How often the source was replaced: what an earlier one answers is of no use."""
        self._probing = 0
        """How often the probe was switched off; the same holds for what it says afterwards."""
        self._poll_seconds: deque[float] = deque(maxlen=DEAR_POLLS)
        self._saved_at = float("-inf")
        self._book = Book()

    async def turn(self) -> None:
        """Poll once, and decide. Never raises for what an endpoint does."""
        if self._retired:
            return
        asked = self._sources
        try:
            await self._look()
        except SourceError as error:
            if asked == self._sources:
                self._failed(error.failure, self._desk.clock())
        if asked == self._sources:
            await self._evaluate(self._desk.clock())

    async def _look(self) -> None:
        """Poll. An endpoint that fails may take its deadline each time; what is due is told."""
        asked, poll = self._sources, self._poll(self._desk.clock())
        if self._state.failure is None:
            await poll
            return
        polling = asyncio.ensure_future(poll)
        try:
            while not (await asyncio.wait({polling}, timeout=self.interval()))[0]:
                if asked == self._sources:
                    await self._evaluate(self._desk.clock())
            await polling
        finally:
            polling.cancel()

    @property
    def has_looked(self) -> bool:
        """Whether anything is known yet: a poll that succeeded or failed, or the last run's."""
        return self._state.snapshot is not None or self._state.failure is not None

    @property
    def book(self) -> Book:
        """The alerts and incidents."""
        return self._book

    def attribute(self, attributed: Attributed) -> None:
        """Remember who is behind the backends that a pooler holds; the next turn tells it."""
        self._state = replace(self._state, attributed=attributed)

    async def review(self) -> None:
        """Decide anew about what is known: rules, thresholds or routes have changed."""
        await self._evaluate(self._desk.clock())

    def forget_probes(self) -> None:
        """Know nothing of new clients any more: nobody tries for us, and who still does is late."""
        self._probing += 1
        self._state = replace(self._state, probes={})

    def retire(self) -> None:
        """Keep what is known and decide nothing more: the endpoint is no longer watched."""
        self._rename()
        self.save()
        self._desk.quiet.fires(self.key, ())
        self._retired = True
        self._sources += 1

    async def probe_turn(self) -> None:
        """Let a new client try; the next turn evaluates what it saw."""
        asked = self._sources, self._probing
        probe = await self._probe(self._desk.clock())
        if asked != (self._sources, self._probing):
            return
        known = self._state.probes.get(probe.via)
        if probe.reason is not (known.reason if known else None):
            keys = {**self._keys, "via": probe.via, "reason": probe.reason or "none"}
            log.warning("connect probe changed", extra={**keys, "detail": probe.message})
        self._state = replace(self._state, probes={**self._state.probes, probe.via: probe})

    def save(self) -> None:
        """Keep what the next start takes up."""
        for part, text in self._kept().items():
            self._desk.journal.save_soon(f"{part}/{self.key}", text)

    @abstractmethod
    def interval(self) -> float:
        """Seconds until the next turn."""

    @abstractmethod
    def probe_interval(self) -> float:
        """Seconds until the next connect probe."""

    @property
    @abstractmethod
    def _keys(self) -> Mapping[str, str]:
        """What a line in the log says of whom it is about."""

    @abstractmethod
    async def _poll(self, now: float) -> None:
        """Take a snapshot into the state, or raise `SourceError`."""

    @abstractmethod
    async def _probe(self, now: float) -> Probe:
        """What a new client sees."""

    @abstractmethod
    def _families(self, now: float) -> Families:
        """Every series of the state."""

    @abstractmethod
    def _put(self, families: Families, now: float) -> None:
        """Show the state on the board."""

    def _before(self, now: float) -> Before | None:  # noqa: ARG002  for those who remember
        """Who held what a while ago."""
        return None

    def _decided(self, decision: Decision) -> None:
        """A place to remember what was decided."""

    def _kept(self) -> dict[str, str]:
        """Texts to keep, by part."""
        return dict(self._book.to_json())

    def _seen(self, seconds: float) -> None:
        """Note a good poll and what it took."""
        if self._failing.succeeded(self._desk.clock()):
            log.info("seen again", extra=self._keys)
        self._poll_seconds.append(seconds)

    def _failed(self, failure: Failure, now: float) -> None:
        failure = explained(failure, self.tried)
        news = self._failing.failed(failure, now)
        if news is not None:
            self._tell(news)
        self._state = replace(
            self._state,
            failure=failure,
            failing_since=self._failing.since,
            failures=self._failing.counts,
        )

    def _tell(self, news: News) -> None:
        """Log what a failure is worth saying: the only place where a failed poll is logged."""
        failure = news.failure
        keys = {**self._keys, "reason": failure.reason.value, "tried": failure.tried}
        if news.reminder:
            keys |= {"count": str(news.count), "seconds": f"{news.seconds:.0f}"}
        message = "polls go on failing" if news.reminder else "poll failed"
        log.warning(message, extra={**keys, "detail": failure.message, "hint": failure.hint})

    def _paced(self, *, busy: bool) -> float:
        """Seconds until the next turn: fewer while much goes on, more when polling is dear."""
        polling = self._polling
        dear = min(self._poll_seconds) if len(self._poll_seconds) == DEAR_POLLS else 0.0
        if busy:
            # Polls get dear when clients storm in; that is no time to look away.
            soonest = min(polling.interval, polling.busy_interval)
            return max(soonest, min(dear / DEAR_RATIO, polling.interval))
        return max(polling.interval, min(dear / DEAR_RATIO, SLOWEST_SECONDS))

    def _probed(self, *, busy: bool) -> float:
        """Seconds until the next probe: fewer while much goes on, or to see if a failure lasts.

        A failure stands until the next probe; with 30 s to go, no `for` of a rule could tell a
        restart of two seconds from one that does not end.
        """
        failed = any(probe.reason is not None for probe in self._state.probes.values())
        calm, soon = self._polling.probe_interval, self._polling.probe_busy_interval
        return min(calm, soon) if busy or failed else calm

    async def _evaluate(self, now: float) -> None:
        families = self._families(now)
        results = self._desk.rules.evaluate(Index.of(families))
        observed = self._state.snapshot is not None
        before = self._before(now)
        decision = self._alerter.decide(
            self._book,
            results,
            self._state,
            before,
            now,
            observed=observed,
            around=self._desk.quiet.around(self.key),
        )
        self._book = decision.book
        self._desk.quiet.fires(self.key, decision.firing)
        self._decided(decision)
        self._put(families, now)
        if decision.notifications or decision.ended:
            self._saved_at = now
            states = {f"{part}/{self.key}": text for part, text in self._kept().items()}
            await self._desk.journal.commit(states, decision.notifications)
        if now - self._saved_at >= (CALM_SAVE_SECONDS if self._calm else SAVE_SECONDS):
            self._saved_at = now
            self.save()

    def _rename(self) -> None:
        """Know by their new names who was told: together with the routes to those names."""
        if self._desk.renamed:
            self._book = self._book.renamed(self._desk.renamed)
            # What is pending has its new names on disk already.
            self.save()

    @property
    def _calm(self) -> bool:
        """Whether a restart would miss nothing if it knew only what was a minute ago."""
        return not self._book.alerts and not self._book.incidents

    def _restore_book(self) -> None:
        """Take up the alerts and incidents of the last run.

        Raises:
            ValueError: they cannot be read.
        """
        load = self._desk.journal.load
        self._book = Book.from_json(load(f"alerts/{self.key}"), load(f"incidents/{self.key}"))
        firing = self._alerter.firing(self._book.alerts)
        self._desk.quiet.fires(self.key, tuple(firing.values()))

    def _anew(self, error: ValueError) -> None:
        """Say that what was kept is left behind."""
        keys = {**self._keys, "error": str(error)}
        log.warning("kept state not understood, beginning anew", extra=keys)
