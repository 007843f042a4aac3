"""What `app` hands in: where to read, and nothing that could poll."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.metrics.families import Families


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One receiver's deliveries, for the page."""

    receiver: str
    delivered: int
    pending: int
    dead: int
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """The process as the web sees it. `alive` never depends on a database."""

    board: Board
    clock: Callable[[], float]
    alive: Callable[[], bool]
    own_families: Callable[[], Families]
    own_book: Callable[[], Book]
    """The alerts about pgheadroom itself."""
    deliveries: Callable[[], Sequence[DeliveryRow]]
    version: str
    compatibility: Callable[[], bool] = lambda: True
    """Whether the series of postgres_exporter are there."""
    addresses: Callable[[], Mapping[str, str]] = dict
    """The name of the server at each HOST:PORT."""
