"""What is known of every server and pooler right now: polls write it, the web reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from exporter.alerting.alerter import Book
from exporter.alerting.message import Before
from exporter.metrics.families import Families
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState


@dataclass(frozen=True, slots=True)
class Entry:
    """One server's state, the series made of it, its alerts, and who held what a while ago.

    `turns` counts evaluations: 0 means that nothing has been tried yet.
    """

    state: ServerState
    families: Families = ()
    book: Book = field(default_factory=Book)
    before: Before | None = None
    turns: int = 0

    @property
    def name(self) -> str:
        """The server's name."""
        return self.state.server


@dataclass(frozen=True, slots=True)
class PoolerEntry:
    """The same for a pooler."""

    state: PoolerState
    families: Families = ()
    book: Book = field(default_factory=Book)
    turns: int = 0

    @property
    def name(self) -> str:
        """The pooler's name."""
        return self.state.pooler


class Board:
    """The newest entry of each server and each pooler, in the order of the configuration."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._poolers: dict[str, PoolerEntry] = {}
        self.generation = 0
        """Grows with each change, so that a rendering can be kept until the next."""

    def put(self, entry: Entry) -> None:
        """Replace the entry of `entry.state.server`."""
        known = self._entries.get(entry.name)
        turns = known.turns + 1 if known is not None else entry.turns
        self._entries[entry.name] = replace(entry, turns=turns)
        self.generation += 1

    def put_pooler(self, entry: PoolerEntry) -> None:
        """Replace the entry of `entry.state.pooler`."""
        known = self._poolers.get(entry.name)
        turns = known.turns + 1 if known is not None else entry.turns
        self._poolers[entry.name] = replace(entry, turns=turns)
        self.generation += 1

    def arrange(self, servers: Iterable[str], poolers: Iterable[str] = ()) -> None:
        """Keep the entries of `servers` and `poolers` alone, in that order."""
        known, pooled = self._entries, self._poolers
        self._entries = {name: known[name] for name in servers if name in known}
        self._poolers = {name: pooled[name] for name in poolers if name in pooled}
        self.generation += 1

    def get(self, server: str) -> Entry | None:
        """The entry of `server`, None where there is no such server."""
        return self._entries.get(server)

    def get_pooler(self, pooler: str) -> PoolerEntry | None:
        """The entry of `pooler`, None where there is no such pooler."""
        return self._poolers.get(pooler)

    @property
    def poolers(self) -> tuple[PoolerEntry, ...]:
        """The poolers."""
        return tuple(self._poolers.values())

    @property
    def endpoints(self) -> tuple[Entry | PoolerEntry, ...]:
        """The servers, then the poolers."""
        return *self, *self.poolers

    def pool_capacity(self, server: str) -> int | None:
        """Connections of `server` that all poolers in front of it may open, as far as seen.

        None where there is no such pooler, or none was seen yet.
        """
        found = [
            each.state.capacity
            for each in self.poolers
            if each.state.server == server and each.state.capacity is not None
        ]
        return sum(found) if found else None

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))
