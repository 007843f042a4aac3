"""Builds the parts from the configuration, owns their lifetimes, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import platform
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter import __version__
from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.board import Board
from exporter.alerting.message import Sender
from exporter.alerting.notification import Notification
from exporter.alerting.routing import Routing
from exporter.config.alerting import Rules
from exporter.config.load import load
from exporter.config.model import Config, listen_address
from exporter.config.server import Server
from exporter.metrics.families import Families
from exporter.metrics.telemetry import Receiving, own_families
from exporter.notify.clock import Clocks
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.receivers import make_receivers
from exporter.notify.store import StateStore
from exporter.notify.telemetry import Outcome
from exporter.poll import KEPT, Desk, SelfWatch, Watch
from exporter.rules.evaluate import RuleSet
from exporter.rules.load import load_rules
from exporter.schedule import Schedule
from exporter.snapshot.server import ServerState
from exporter.sources.credentials import addresses, check_dsn, tls_warning
from exporter.sources.postgres import PostgresSource
from exporter.web.port import DeliveryRow, Port
from exporter.web.server import Web, bind

log = logging.getLogger(__name__)

#: SIGTERM to exit takes 2 s at most (DESIGN); the parts share this among them.
STOP_TURNS, STOP_DELIVERIES, STOP_SESSIONS, STOP_WEB = 0.4, 0.6, 0.2, 0.2
SELF_SECONDS = 5.0
#: A notification that was given up is news for this long; then its alert may resolve.
DEAD_SECONDS = 3600.0


class SteadyClock:
    """Unix seconds that never step: the wall clock of the start, and the monotonic clock since.

    `for`, durations and histories survive an operator's `date -s`.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Now."""
        return time.monotonic() + self._offset


class Checks:
    """What the configuration cannot check by itself."""

    def check_dsn(self, dsn: str) -> None:
        """See `exporter.config.load.Checks`."""
        check_dsn(dsn)

    def rule_problems(self, rules: Rules) -> Sequence[str]:
        """See `exporter.config.load.Checks`."""
        return load_rules(rules)[1]


def read_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration, checked as far as no server is needed for it.

    Raises:
        ConfigError: with every problem.
    """
    return load(path, environ, Checks())


class Keeper:
    """The journal of the watches: the outbox, and a line in the log for each thing told."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.save_soon = outbox.store.save_soon
        self.load = outbox.store.load

    async def commit(
        self, states: Mapping[str, str], notifications: Sequence[tuple[str, Notification]]
    ) -> None:
        """See `exporter.poll.Journal`."""
        result = await self._outbox.tell(states, notifications)
        if not result.on_disk:
            keys = {"error": result.error, "rows": len(result.rows)}
            log.error("sent without a copy on disk", extra=keys)
        for receiver, told in notifications:
            keys = {"receiver": receiver, "transition": told.transition.value}
            log.info("notify", extra={**keys, "incident": told.incident, "text": told.headline})


class App:
    """Everything that `pgheadroom run` is."""

    def __init__(self, config: Config) -> None:
        """Open the state and bind the address, so that what cannot work fails before anything runs.

        Raises:
            ListenError: the address cannot be listened on.
            StateDirBusyError: another process uses the state directory.
        """
        self._config = config
        self._clock = SteadyClock()
        sock = bind(*listen_address(config.listen))
        store = StateStore(config.state_dir, clock=self._clock)
        receivers = make_receivers(config.receivers)
        self._outbox = Outbox(store, Dispatcher(receivers, store, clocks=Clocks(wall=self._clock)))
        self._board, self._schedule = Board(), Schedule()
        rules = RuleSet(load_rules(config.rules)[0])
        self._keeper = keeper = Keeper(self._outbox)
        self._desk = Desk(rules.of_scope("server"), self._board, keeper, self._clock)
        self._sources = {server.name: self._source(server) for server in config.servers}
        self._watches = [self._watch(server) for server in config.servers]
        own = Desk(rules.of_scope("self"), self._board, keeper, self._clock)
        self._self = SelfWatch(self._own_families, self._alerter({}), own)
        self._web = Web(self._port(), sock)
        self._stopping = asyncio.Event()

    @property
    def address(self) -> str:
        """HOST:PORT of the web, as bound."""
        return self._web.address

    async def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._start()
        await self._close_orphans()
        try:
            await self._stopping.wait()
        finally:
            await self._stop()

    def _start(self) -> None:
        self._outbox.start()
        for watch, server in zip(self._watches, self._config.servers, strict=True):
            self._schedule.every(f"poll/{watch.name}", watch.turn, watch.interval)
            if server.probe.enabled:
                name = f"probe/{watch.name}"
                self._schedule.every(name, watch.probe_turn, watch.probe_interval)
        self._schedule.every("self", self._self.turn, lambda: SELF_SECONDS)
        self._schedule.start()
        self._web.start()
        keys = {"version": __version__, "address": self.address, "servers": len(self._watches)}
        log.info("started", extra=keys)

    async def _close_orphans(self) -> None:
        """Resolve what is open of servers that the configuration no longer names."""
        store, known = self._outbox.store, set(self._sources)
        for key in store.keys("incidents/"):
            name = key.removeprefix("incidents/")
            if name in known:
                continue
            try:
                book = Book.from_json(None, store.load(key))
            except ValueError:
                book = Book()
            decision = self._alerter({}).decide(
                book, (), ServerState(name), None, self._clock(), observed=True
            )
            await self._keeper.commit({}, decision.notifications)
            for part in KEPT:
                store.forget(f"{part}/{name}")

    async def _stop(self) -> None:
        """In the order of the data: no more turns, then what they decided, then what is kept."""
        log.info("stopping")
        await self._schedule.stop(STOP_TURNS)
        for watch in self._watches:
            watch.save()
        closing = [source.close() for source in self._sources.values()]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), STOP_SESSIONS)
        kept = await asyncio.to_thread(self._outbox.stop, STOP_DELIVERIES)
        await self._web.stop(STOP_WEB)
        log.info("stopped", extra={"kept": kept})

    def _source(self, server: Server) -> PostgresSource:
        warning = tls_warning(server.dsn.get_secret_value())
        if warning:
            log.warning("weak TLS", extra={"server": server.name, "detail": warning})
        return PostgresSource(server, self._config.polling_of(server))

    def _watch(self, server: Server) -> Watch:
        return Watch(
            server.name,
            self._sources[server.name],
            self._config.polling_of(server),
            self._config.thresholds_of(server),
            self._config.forecast,
            self._alerter(server.labels),
            self._desk,
        )

    def _alerter(self, labels: Mapping[str, str]) -> Alerter:
        config = self._config
        source = f"pgheadroom {__version__} on {platform.node()}"
        sender = Sender(config.install_id, source, config.external_url, dict(labels))
        return Alerter(Routing(config.effective_routes, dict(labels)), sender)

    def _port(self) -> Port:
        return Port(
            board=self._board,
            clock=self._clock,
            alive=lambda: self._schedule.alive,
            own_families=self._own_families,
            own_book=lambda: self._self.book,
            deliveries=self._deliveries,
            version=__version__,
            compatibility=lambda: self._config.metrics.compatibility,
            addresses=self._addresses,
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
        return own_families(receivers, writable=self._outbox.store.health().writable)

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
