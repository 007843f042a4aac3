"""Builds the parts from the configuration, owns their lifetimes, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from exporter import __version__
from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.alerting.crowd import Crowd
from exporter.alerting.notification import Notification
from exporter.config import events
from exporter.config.alerting import PagerDutyReceiver
from exporter.config.difference import renamed
from exporter.config.model import Config, listen_address
from exporter.config.web import load_web
from exporter.fleet import Fleet, make_alerter
from exporter.metrics.families import Families
from exporter.metrics.telemetry import Late, Receiving, Reload, own_families
from exporter.notify.clock import Clocks
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.heartbeat import UNDELIVERED_SECONDS, Heartbeat
from exporter.notify.outbox import Outbox
from exporter.notify.receivers import make_receivers
from exporter.notify.store import StateStore
from exporter.notify.telemetry import Outcome
from exporter.poll import KEPT, ColdStart, Desk, SelfWatch, Silencing
from exporter.reload import Origin, Reloader, rules_of
from exporter.rules.evaluate import RuleSet
from exporter.schedule import Schedule
from exporter.snapshot.server import ServerState
from exporter.sources.credentials import addresses
from exporter.web.port import DeadRow, DeliveryRow, Port
from exporter.web.server import Web, bind

log = logging.getLogger(__name__)

#: SIGTERM to exit takes 2 s at most (DESIGN); the parts share this among them.
STOP_TURNS, STOP_DELIVERIES, STOP_SESSIONS, STOP_WEB = 0.4, 0.6, 0.2, 0.2
SELF_SECONDS = 5.0
#: A notification that was given up is news for this long; then its alert may resolve.
DEAD_SECONDS = 3600.0
#: Dead letters on the page: what a night without a receiver may come to.
SHOWN_DEAD = 20
#: Names of jobs; no endpoint's name has a space.
COLD_START, HEARTBEAT = "cold start", "heart beat"


class SteadyClock:
    """Unix seconds that never step: the wall clock of the start, and the monotonic clock since.

    `for`, durations and histories survive an operator's `date -s`.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return time.monotonic() + self._offset


class Keeper:
    """The journal of the watches: the outbox, and a line in the log for each thing told."""

    def __init__(self, outbox: Outbox, clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._crowd = Crowd()
        self.chats: frozenset[str] = frozenset()
        """The receivers that are told in digests while too much happens; a reload replaces them."""
        self.save_soon = outbox.store.save_soon
        self.load = outbox.store.load

    async def commit(
        self, states: Mapping[str, str], notifications: Sequence[tuple[str, Notification]]
    ) -> str:
        """See `exporter.poll.Journal`."""
        notifications = self._crowd.marked(notifications, self.chats, self._clock())
        result = await self._outbox.tell(states, notifications)
        if not result.on_disk:
            keys = {"error": result.error, "rows": len(result.rows)}
            log.error(
                "sent without a copy on disk" if result.rows else "kept in memory alone", extra=keys
            )
        for receiver, told in notifications:
            keys = {"receiver": receiver, "transition": told.transition.value}
            log.info("notify", extra={**keys, "incident": told.incident, "text": told.headline})
        return result.error


def _chats(config: Config) -> frozenset[str]:
    return frozenset(each.name for each in config.receivers if each.chat)


class App:
    """Everything that `pgheadroom run` is."""

    def __init__(self, config: Config, origin: Origin | None = None) -> None:
        """Open the state and bind the address, so that what cannot work fails before anything runs.

        `origin` is where a reload reads; without one nothing but the environment is read again.

        Raises:
            ConfigError: the rule files have changed since `config` was read, or a certificate
                cannot be used.
            ListenError: the address cannot be listened on.
            StateDirBusyError: another process uses the state directory.
        """
        self._config = config
        self._clock = SteadyClock()
        rules = rules_of(config)
        sock = bind(*listen_address(config.listen))
        store = StateStore(config.state_dir, clock=self._clock)
        receivers = make_receivers(config.receivers)
        self._outbox = Outbox(store, Dispatcher(receivers, store, clocks=Clocks(wall=self._clock)))
        self._board, self._schedule = Board(), Schedule()
        self._keeper = keeper = Keeper(self._outbox, self._clock)
        keeper.chats = _chats(config)
        self._desk = Desk(rules.of_scope("server"), self._board, keeper, self._clock)
        was_empty = not store.keys()
        quiet = self._desk.quiet
        self._own_desk = Desk(rules.of_scope("self"), self._board, keeper, self._clock, quiet)
        self._silencing = Silencing(quiet, keeper, self._review_soon)
        self._reviews: set[asyncio.Task[None]] = set()
        self._fleet = Fleet(self._desk, self._schedule)
        self._self = SelfWatch(self._own_families, make_alerter(config, {}), self._own_desk)
        self._cold_start = ColdStart(
            self._desk,
            self._self,
            self._own_desk,
            lambda: make_alerter(self._config, {}).sender,
            self._pagers,
            lambda: self._config.cold_start_resolve,
        )
        self._was_cold = self._cold_start.begin(empty=was_empty)
        self._heartbeat: Heartbeat | None = None
        origin = origin or Origin(None, os.environ)
        self._reloader = Reloader(origin, config, self._put_in_force, self._clock)
        self._web = Web(self._port(), sock, load_web(config.web.config_file))
        self._stopping = asyncio.Event()

    @property
    def address(self) -> str:
        """HOST:PORT of the web, as bound."""
        return self._web.address

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; SIGHUP has the configuration read again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
        await self._start()
        await self._close_orphans()
        reloading = loop.create_task(self._reloader.run())
        try:
            await self._stopping.wait()
        finally:
            reloading.cancel()
            await asyncio.wait({reloading}, timeout=STOP_TURNS)
            await self._stop()

    async def _start(self) -> None:
        self._outbox.start()
        await self._fleet.follow(self._config)
        self._schedule.every("self", self._self.turn, lambda: SELF_SECONDS)
        if self._was_cold:
            self._schedule.every(COLD_START, self._cold_start_turn, self._cold_start_interval)
        self._follow_heartbeat()
        self._schedule.start()
        self._web.start()
        keys = {"version": __version__, "address": self.address, "servers": len(self._fleet.names)}
        log.info("started", extra=keys)

    async def _put_in_force(self, config: Config, rules: RuleSet) -> None:
        """Go on with another configuration, losing no session and no alert that still applies."""
        self._web.follow(load_web(config.web.config_file))
        before, self._config = self._config, config
        self._keeper.chats = _chats(config)
        if config.log != before.log:
            events.set_up(config.log)
        self._desk.rules, self._own_desk.rules = rules.of_scope("server"), rules.of_scope("self")
        names = renamed(before.receivers, config.receivers)
        for old, new in names.items():
            log.info("receiver renamed", extra={"receiver": new, "before": old})
        self._desk.renamed = self._own_desk.renamed = names
        self._self.follow(make_alerter(config, {}))
        # Receivers that go stay until they have been told that their incidents are over for them.
        known = {*names, *(each.name for each in config.receivers)}
        leaving = [each for each in before.receivers if each.name not in known]
        dispatcher = self._outbox.dispatcher
        dispatcher.reload(make_receivers([*config.receivers, *leaving]), names)
        await self._fleet.follow(config)
        self._follow_heartbeat()
        await self._close_orphans()
        await self._review()
        dispatcher.reload(make_receivers(config.receivers), names)

    def _pagers(self) -> Sequence[str]:
        """The receivers that know incidents by a key which survives us, and hear of their end."""
        receivers = self._config.receivers
        pagers = (each for each in receivers if isinstance(each, PagerDutyReceiver))
        return [each.name for each in pagers if each.send_resolved]

    async def _cold_start_turn(self) -> None:
        await self._cold_start.turn()
        if self._cold_start.over:
            self._schedule.remove(COLD_START)

    def _cold_start_interval(self) -> float:
        return min(SELF_SECONDS, (self._config.cold_start_resolve or SELF_SECONDS) / 4)

    def _follow_heartbeat(self) -> None:
        """Begin, change or end the heartbeat as the configuration says."""
        wanted = self._config.heartbeat
        if self._heartbeat is not None and self._heartbeat.config == wanted:
            return
        self._schedule.remove(HEARTBEAT)
        self._heartbeat = None if wanted is None else Heartbeat(wanted, self._trouble)
        if wanted is not None and self._heartbeat is not None:
            interval = wanted.interval
            self._schedule.every(HEARTBEAT, self._heartbeat.turn, lambda: interval)

    def _trouble(self) -> str:
        """Why nobody should rely on us now, or ""."""
        missing = self._schedule.missing()
        if missing:
            return f"turns are missing: {', '.join(missing[:5])}"
        return self._outbox.trouble(UNDELIVERED_SECONDS)

    def _review_soon(self) -> None:
        """Decide anew everywhere: the silences have changed."""
        task = asyncio.get_running_loop().create_task(self._review())
        self._reviews.add(task)
        task.add_done_callback(self._reviews.discard)

    async def _review(self) -> None:
        await self._fleet.review()
        await self._self.turn()

    async def _close_orphans(self) -> None:
        """Resolve what is open of servers that the configuration no longer names."""
        store, known = self._outbox.store, set(self._fleet.names)
        for key in store.keys("incidents/"):
            name = key.removeprefix("incidents/")
            if name in known:
                continue
            try:
                book = Book.from_json(None, store.load(key))
            except ValueError:
                book = Book()
            alerter = make_alerter(self._config, {})
            decision = alerter.close(book, ServerState(name), self._clock())
            await self._keeper.commit({}, decision.notifications)
            for part in KEPT:
                store.forget(f"{part}/{name}")

    async def _stop(self) -> None:
        """In the order of the data: no more turns, then what they decided, then what is kept."""
        log.info("stopping")
        await self._schedule.stop(STOP_TURNS)
        self._fleet.save()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._fleet.close(), STOP_SESSIONS)
        kept = await asyncio.to_thread(self._outbox.stop, STOP_DELIVERIES)
        await self._web.stop(STOP_WEB)
        log.info("stopped", extra={"kept": kept})

    def _port(self) -> Port:
        return Port(
            board=self._board,
            clock=self._clock,
            alive=lambda: self._schedule.alive,
            own_families=self._own_families,
            own_book=lambda: self._self.book,
            deliveries=self._deliveries,
            dead=self._dead,
            state_trouble=self._state_trouble,
            version=__version__,
            compatibility=lambda: self._config.metrics.compatibility,
            addresses=self._addresses,
            attribute=self._fleet.attribute,
            silencer=self._silencing,
        )

    def _addresses(self) -> dict[str, str]:
        """The first server at each HOST:PORT."""
        found: dict[str, str] = {}
        for server in self._config.servers:
            for address in addresses(server.dsn.get_secret_value()):
                found.setdefault(address, server.name)
        return found

    def _own_families(self) -> Families:
        now = self._clock()
        dead = Counter(
            letter.row.receiver
            for letter in self._outbox.store.dead_letters()
            if letter.died_at > now - DEAD_SECONDS
        )
        receivers = [
            Receiving(
                receiver=each.receiver,
                outcomes={outcome.value: count for outcome, count in each.outcomes.items()},
                pending=each.pending,
                dead=dead[each.receiver],
                oldest_seconds=each.oldest_age_seconds,
                failing=each.failing,
                latency_buckets=each.latency_buckets,
                latency_count=each.latency_count,
                latency_sum=each.latency_sum,
            )
            for each in self._outbox.dispatcher.telemetry()
        ]
        reload = Reload(self._reloader.successful, self._reloader.succeeded_at)
        writable = self._outbox.store.health().writable
        lateness = self._schedule.lateness
        late = Late(lateness.buckets, lateness.count, lateness.sum)
        silent = self._silencing.active
        beat = None if self._heartbeat is None else self._heartbeat.successful
        return own_families(
            receivers, reload, late, writable=writable, heartbeat=beat, silences=silent
        )

    def _state_trouble(self) -> str:
        health = self._outbox.store.health()
        if not health.writable:
            return f"cannot be written, a restart would lose what is new: {health.error}"
        return health.notice

    def _deliveries(self) -> Sequence[DeliveryRow]:
        return [
            DeliveryRow(
                each.receiver,
                each.outcomes[Outcome.DELIVERED],
                each.pending,
                each.outcomes[Outcome.DEAD],
                each.last_error,
            )
            for each in self._outbox.dispatcher.telemetry()
        ]

    def _dead(self) -> Sequence[DeadRow]:
        letters = self._outbox.store.dead_letters()[-SHOWN_DEAD:]
        return [
            DeadRow(
                letter.row.receiver,
                letter.died_at,
                letter.row.notification.headline,
                letter.reason.value,
            )
            for letter in reversed(letters)
        ]
