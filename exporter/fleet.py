"""The watched servers and poolers: a source, a watch and jobs for each, as configured.

A reload changes what is there instead of making it anew. A session is given up only when its login
would be another one: at exhaustion it is a slot that nobody gets back.
"""

from __future__ import annotations

import asyncio
import logging
import platform
import resource
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, Protocol

from exporter import __version__
from exporter.alerting.alerter import Alerter
from exporter.alerting.message import Sender
from exporter.alerting.muting import Muting
from exporter.alerting.routing import Routing, manners_of
from exporter.config.credentials import Credentials
from exporter.config.difference import same_login
from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Server
from exporter.poll import (
    LOOK_SECONDS,
    Attributor,
    Desk,
    Front,
    Plan,
    PoolerPlan,
    PoolerWatch,
    Scene,
    Turns,
    Watch,
    pooler_key,
)
from exporter.schedule import Schedule
from exporter.snapshot.attribution import Attributed
from exporter.sources.credentials import addresses, describe, tls_warning
from exporter.sources.pgbouncer import PgbouncerSource
from exporter.sources.postgres import PostgresSource

log = logging.getLogger(__name__)

#: First polls begin this far apart, so that hundreds of servers do not log in at one instant, and
#: are not polled at one instant ever after.
SPREAD_SECONDS = 0.025
#: Files that an endpoint may have open, its session, its probe and what replaces one, and all else.
_FILES_EACH, _FILES_BESIDES = 4, 200


def make_alerter(config: Config, labels: Mapping[str, str]) -> Alerter:
    """Who decides for an endpoint that the configuration gives `labels`."""
    source = f"pgheadroom {__version__} on {platform.node()}"
    sender = Sender(config.install_id, source, config.external_url, dict(labels))
    routing = Routing(config.effective_routes, dict(labels), manners_of(config.receivers))
    return Alerter(routing, sender, Muting(config.mutes, config.inhibit))


class Member(Protocol):
    """One server or pooler of the fleet."""

    @property
    def watch(self) -> Turns[Any]:
        """Its turns."""

    @property
    def probed(self) -> bool:
        """Whether a new client tries from time to time."""

    async def change(self, config: Config, entry: Any) -> Iterable[Awaitable[None]]:  # noqa: ANN401  a Server or a Pooler, as it began
        """Go on with `entry` as it is now; what is to be closed."""

    async def close(self) -> None:
        """End its session."""


class ServerMember:
    """One server."""

    def __init__(self, config: Config, server: Server, desk: Desk) -> None:
        self._server = server
        self._source = self._new_source(config)
        self.watch = Watch(server.name, self._source, self._plan(config), desk)

    @property
    def probed(self) -> bool:
        """See `Member`."""
        return self._server.probe.enabled

    async def change(self, config: Config, entry: Server) -> Iterable[Awaitable[None]]:
        """See `Member`."""
        before, self._server = self._server, entry
        self.watch.follow(self._plan(config))
        if same_login(before, entry):
            await self._source.adopt(entry, config.polling_of(entry))
            return ()
        old, self._source = self._source, self._new_source(config)
        self.watch.use(self._source)
        return (old.close(),)

    async def close(self) -> None:
        """See `Member`."""
        await self._source.close()

    def scene(self, poolers: Iterable[PoolerMember]) -> Scene:
        """How things stand for those who ask who is really behind a backend."""
        mine = [each for each in poolers if each.server == self._server.name]
        books = (self.watch.book, *(each.watch.book for each in mine))
        fronts = tuple(each.front() for each in mine)
        addresses = self._server.client_addresses
        soon = self.watch.idle_limit / 2
        return Scene(self._source, fronts, self.watch.activity, books, addresses, soon)

    def _plan(self, config: Config) -> Plan:
        server = self._server
        return Plan(
            config.polling_of(server),
            config.thresholds_of(server),
            config.forecast,
            make_alerter(config, server.labels),
            describe(server.dsn.get_secret_value()),
        )

    def _new_source(self, config: Config) -> PostgresSource:
        _warn_of_tls(self._server, server=self._server.name)
        return PostgresSource(self._server, config.polling_of(self._server))


class PoolerMember:
    """One pooler."""

    def __init__(self, config: Config, pooler: Pooler, desk: Desk) -> None:
        self._pooler = pooler
        self._source = self._new_source(config)
        self.watch = PoolerWatch(pooler.name, self._source, self._plan(config), desk)

    @property
    def probed(self) -> bool:
        """See `Member`."""
        probe = self._pooler.probe
        return probe.enabled and probe.credentials is not None

    async def change(self, config: Config, entry: Pooler) -> Iterable[Awaitable[None]]:
        """See `Member`."""
        before, self._pooler = self._pooler, entry
        self.watch.follow(self._plan(config))
        if same_login(before, entry):
            await self._source.adopt(entry, config.polling_of(entry))
            return ()
        old, self._source = self._source, self._new_source(config)
        self.watch.use(self._source)
        return (old.close(),)

    async def close(self) -> None:
        """See `Member`."""
        await self._source.close()

    @property
    def server(self) -> str | None:
        """The server that it stands in front of."""
        return self._pooler.server

    def front(self) -> Front:
        """Where its sockets are read, and where its databases lead."""
        watch = self.watch
        return Front(self._pooler.name, self._source, watch.snapshot, watch.addresses)

    def _plan(self, config: Config) -> PoolerPlan:
        pooler = self._pooler
        fronted = (each for each in config.servers if each.name == pooler.server)
        return PoolerPlan(
            config.polling_of(pooler),
            config.pooler_thresholds_of(pooler),
            make_alerter(config, {**pooler.labels, "pooler": pooler.name}),
            pooler.server,
            tuple(where for each in fronted for where in addresses(each.dsn.get_secret_value())),
            pooler.clients,
            describe(pooler.dsn.get_secret_value()),
        )

    def _new_source(self, config: Config) -> PgbouncerSource:
        _warn_of_tls(self._pooler, pooler=self._pooler.name)
        return PgbouncerSource(self._pooler, config.polling_of(self._pooler))


class Fleet:
    """All watched servers and poolers. Nothing is watched before the first `follow`."""

    def __init__(self, desk: Desk, schedule: Schedule) -> None:
        self._desk = desk
        self._schedule = schedule
        self._members: dict[str, Member] = {}
        self._attributors: dict[str, Attributor] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The servers and poolers as the journal knows them, in the order of the configuration."""
        return tuple(self._members)

    async def follow(self, config: Config) -> None:
        """Begin, change and end watches until they are those of `config`."""
        wanted: dict[str, Server | Pooler] = {each.name: each for each in config.servers}
        wanted |= {pooler_key(each.name): each for each in config.poolers}
        _allow_files(len(wanted))
        closing = [self._end(name) for name in self._members if name not in wanted]
        added = 0
        for name, entry in wanted.items():
            if name in self._members:
                closing += await self._members[name].change(config, entry)
                self._schedule_probe(name, 0.0)
            else:
                self._begin(name, config, entry, added * SPREAD_SECONDS)
                added += 1
        self._members = {name: self._members[name] for name in wanted}
        self._follow_attribution()
        servers, poolers = config.servers, config.poolers
        self._desk.board.arrange((s.name for s in servers), (p.name for p in poolers))
        self._schedule.reconsider()
        await asyncio.gather(*closing, return_exceptions=True)

    async def attribute(self, servers: Iterable[str]) -> None:
        """Ask who is really behind the backends of `servers`, at most once a minute each."""
        asked = (self._attributors[name] for name in servers if name in self._attributors)
        await asyncio.gather(*(each.ask() for each in asked))

    async def review(self) -> None:
        """Have every watch decide anew about what it knows."""
        for member in tuple(self._members.values()):
            if member.watch.has_looked:
                await member.watch.review()
            # Hundreds of them must not hold up the polls.
            await asyncio.sleep(0)

    def save(self) -> None:
        """Keep what the next start takes up."""
        for member in self._members.values():
            member.watch.save()

    async def close(self) -> None:
        """End every session."""
        closing = [member.close() for member in self._members.values()]
        await asyncio.gather(*closing, return_exceptions=True)

    def _begin(self, name: str, config: Config, entry: Server | Pooler, delay: float) -> None:
        member: Member
        if isinstance(entry, Pooler):
            member = PoolerMember(config, entry, self._desk)
        else:
            member = ServerMember(config, entry, self._desk)
        self._members[name] = member
        watch = member.watch
        self._schedule.every(f"poll/{name}", watch.turn, watch.interval, delay)
        self._schedule_probe(name, delay)

    def _end(self, name: str) -> Awaitable[None]:
        member = self._members[name]
        self._schedule.remove(f"poll/{name}")
        self._schedule.remove(f"probe/{name}")
        member.watch.retire()
        return member.close()

    def _follow_attribution(self) -> None:
        """One job for each server that has poolers in front."""
        fronted = {each.server for each in self._poolers()}
        servers = {n: m for n, m in self._members.items() if isinstance(m, ServerMember)}
        for name in [name for name in self._attributors if name not in servers.keys() & fronted]:
            self._schedule.remove(f"behind/{name}")
            del self._attributors[name]
        for name, member in servers.items():
            if name in fronted and name not in self._attributors:
                self._attributors[name] = made = self._attributor(member)
                self._schedule.every(f"behind/{name}", made.turn, lambda: LOOK_SECONDS)

    def _attributor(self, member: ServerMember) -> Attributor:
        def tell(attributed: Attributed) -> None:
            member.watch.attribute(attributed)
            for each in self._poolers():
                if each.server == member.watch.name:
                    each.watch.attribute(attributed.of(each.watch.name))

        return Attributor(lambda: member.scene(self._poolers()), tell, self._desk.clock)

    def _poolers(self) -> list[PoolerMember]:
        return [each for each in self._members.values() if isinstance(each, PoolerMember)]

    def _schedule_probe(self, name: str, delay: float) -> None:
        member, job = self._members[name], f"probe/{name}"
        if not member.probed:
            self._schedule.remove(job)
            member.watch.forget_probes()
        elif not self._schedule.has(job):
            watch = member.watch
            self._schedule.every(job, watch.probe_turn, watch.probe_interval, delay)


def _allow_files(endpoints: int) -> None:
    """Raise the soft limit of open files, often 1024, as far as so many endpoints need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = endpoints * _FILES_EACH + _FILES_BESIDES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        keys = {"endpoints": endpoints, "allowed": allowed, "wanted": wanted}
        log.warning("too few open files are allowed; raise LimitNOFILE", extra=keys)


def _warn_of_tls(credentials: Credentials, **keys: str) -> None:
    warning = tls_warning(credentials.dsn.get_secret_value())
    if warning:
        log.warning("weak TLS", extra={**keys, "detail": warning})
