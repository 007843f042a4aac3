"""What is known of every server right now: polls write it, the web reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from exporter.alerting.alerter import Book
from exporter.alerting.message import Before
from exporter.metrics.families import Families
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


class Board:
    """The newest entry of each server, in the order of the configuration."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self.generation = 0
        """Grows with each change, so that a rendering can be kept until the next."""

    def put(self, entry: Entry) -> None:
        """Replace the entry of `entry.state.server`."""
        known = self._entries.get(entry.state.server)
        turns = known.turns + 1 if known is not None else entry.turns
        self._entries[entry.state.server] = replace(entry, turns=turns)
        self.generation += 1

    def get(self, server: str) -> Entry | None:
        """The entry of `server`, None where there is no such server."""
        return self._entries.get(server)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))
