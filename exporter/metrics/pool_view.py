"""What a pooler's signal is made from, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from exporter.metrics.caps import Cap
from exporter.metrics.families import Builder
from exporter.snapshot.pool import PoolerSnapshot, PoolKey
from exporter.snapshot.pooler import PoolerState

Client = tuple[str, str, str]
"""database, user, application_name."""


@dataclass(frozen=True, slots=True)
class PoolerCaps:
    """One pooler's bounds on label values that clients choose, or that `*` and auth_query make."""

    pools: Cap[PoolKey] = field(default_factory=Cap)
    clients: Cap[Client] = field(default_factory=Cap)


@dataclass(frozen=True, slots=True)
class PoolerView:
    """One pooler at one turn; `now` is Unix seconds."""

    state: PoolerState
    snapshot: PoolerSnapshot
    caps: PoolerCaps
    now: float


PoolerSignal = Callable[[Builder, PoolerView], None]
"""Adds some series of a pooler to the builder. One line in `pooler.SIGNALS`, one test."""
