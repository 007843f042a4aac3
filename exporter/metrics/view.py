"""What a signal is made from, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.metrics.caps import Cap
from exporter.metrics.families import Builder
from exporter.snapshot.activity import BackendGroup
from exporter.snapshot.server import ServerState, Snapshot

Who = tuple[str, str, str]
"""datname, usename, application_name."""


def who_of(group: BackendGroup) -> Who:
    """Whose backends these are."""
    return group.datname, group.usename, group.application_name


@dataclass(frozen=True, slots=True)
class Caps:
    """One server's bounds on label values that clients choose."""

    who: Cap[Who] = field(default_factory=Cap)
    client_addrs: Cap[str] = field(default_factory=Cap)


@dataclass(frozen=True, slots=True)
class View:
    """One server at one turn. `clients` are the groups that hold slots; `now` is Unix seconds."""

    state: ServerState
    snapshot: Snapshot
    clients: tuple[BackendGroup, ...]
    caps: Caps
    now: float


Signal = Callable[[Builder, View], None]
"""Adds some series of a server to the builder. One file, one line in `server.SIGNALS`, one test."""
