"""All watched servers and poolers, and their jobs, as configured.

A reload changes what is there instead of making it anew. A session is given up only when its login
would be another one: at exhaustion it is a slot that nobody gets back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Server
from exporter.fleet.files import allow_files
from exporter.fleet.member import Member
from exporter.fleet.pooler import PoolerMember
from exporter.fleet.server import ServerMember
from exporter.poll import LOOK_SECONDS, Attributor, Desk, pooler_key
from exporter.schedule import Schedule
from exporter.snapshot.attribution import Attributed

#: First polls begin this far apart, so that hundreds of servers do not log in at one instant, and
#: are not polled at one instant ever after.
SPREAD_SECONDS = 0.025


class Fleet:
    """All watched servers and poolers. Nothing is watched before the first `follow`."""

    def __init__(self, desk: Desk, schedule: Schedule) -> None:
        self._desk = desk
        self._schedule = schedule
        self._members: dict[str, Member[Any, Any]] = {}
        self._attributors: dict[str, Attributor] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The servers and poolers as the journal knows them, in the order of the configuration."""
        return tuple(self._members)

    async def follow(self, config: Config) -> None:
        """Begin, change and end watches until they are those of `config`."""
        wanted: dict[str, Server | Pooler] = {each.name: each for each in config.servers}
        wanted |= {pooler_key(each.name): each for each in config.poolers}
        allow_files(len(wanted))
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
        member: Member[Any, Any]
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
