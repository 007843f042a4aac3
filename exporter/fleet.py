"""The watched servers: a source, a watch and jobs for each, as the configuration in force says.

A reload changes what is there instead of making it anew. A session is given up only when its login
would be another one: at exhaustion it is a slot that nobody gets back.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass

from exporter import __version__
from exporter.alerting.alerter import Alerter
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing
from exporter.config.difference import same_login
from exporter.config.model import Config
from exporter.config.server import Server
from exporter.poll import Desk, Plan, Watch
from exporter.schedule import Schedule
from exporter.sources.credentials import tls_warning
from exporter.sources.postgres import PostgresSource

log = logging.getLogger(__name__)

#: First polls begin this far apart, so that hundreds of servers do not log in at one instant, and
#: are not polled at one instant ever after.
SPREAD_SECONDS = 0.025


def make_alerter(config: Config, labels: Mapping[str, str]) -> Alerter:
    """Who decides for an endpoint that the configuration gives `labels`."""
    source = f"pgheadroom {__version__} on {platform.node()}"
    sender = Sender(config.install_id, source, config.external_url, dict(labels))
    return Alerter(Routing(config.effective_routes, dict(labels)), sender)


@dataclass(slots=True)
class Member:
    """One server of the fleet."""

    server: Server
    source: PostgresSource
    watch: Watch


class Fleet:
    """All watched servers. Nothing is watched before the first `follow`."""

    def __init__(self, desk: Desk, schedule: Schedule) -> None:
        self._desk = desk
        self._schedule = schedule
        self._members: dict[str, Member] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The servers, in the order of the configuration."""
        return tuple(self._members)

    async def follow(self, config: Config) -> None:
        """Begin, change and end watches until they are those of `config`."""
        wanted = {server.name: server for server in config.servers}
        closing = [self._end(name) for name in self._members if name not in wanted]
        added = 0
        for name, server in wanted.items():
            if name in self._members:
                closing += await self._change(self._members[name], config, server)
            else:
                self._members[name] = self._begin(config, server, added * SPREAD_SECONDS)
                added += 1
        self._members = {name: self._members[name] for name in wanted}
        self._desk.board.arrange(wanted)
        self._schedule.reconsider()
        await asyncio.gather(*closing, return_exceptions=True)

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
        closing = [member.source.close() for member in self._members.values()]
        await asyncio.gather(*closing, return_exceptions=True)

    def _begin(self, config: Config, server: Server, delay: float) -> Member:
        source = _source(config, server)
        watch = Watch(server.name, source, _plan(config, server), self._desk)
        member = Member(server, source, watch)
        self._schedule.every(f"poll/{server.name}", watch.turn, watch.interval, delay)
        self._schedule_probe(member, delay)
        return member

    def _end(self, name: str) -> Awaitable[None]:
        member = self._members[name]
        self._schedule.remove(f"poll/{name}")
        self._schedule.remove(f"probe/{name}")
        member.watch.retire()
        return member.source.close()

    async def _change(
        self, member: Member, config: Config, server: Server
    ) -> Iterable[Awaitable[None]]:
        """Go on with `server` as it is now; what is to be closed."""
        before, member.server = member.server, server
        member.watch.follow(_plan(config, server))
        self._schedule_probe(member, 0.0)
        if same_login(before, server):
            await member.source.adopt(server, config.polling_of(server))
            return ()
        old, member.source = member.source, _source(config, server)
        member.watch.use(member.source)
        return (old.close(),)

    def _schedule_probe(self, member: Member, delay: float) -> None:
        name = f"probe/{member.server.name}"
        if not member.server.probe.enabled:
            self._schedule.remove(name)
            member.watch.forget_probes()
        elif not self._schedule.has(name):
            watch = member.watch
            self._schedule.every(name, watch.probe_turn, watch.probe_interval, delay)


def _plan(config: Config, server: Server) -> Plan:
    return Plan(
        config.polling_of(server),
        config.thresholds_of(server),
        config.forecast,
        make_alerter(config, server.labels),
    )


def _source(config: Config, server: Server) -> PostgresSource:
    warning = tls_warning(server.dsn.get_secret_value())
    if warning:
        log.warning("weak TLS", extra={"server": server.name, "detail": warning})
    return PostgresSource(server, config.polling_of(server))
