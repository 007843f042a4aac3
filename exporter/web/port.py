"""What `app` hands in: where to read, and nothing that could poll."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.alerting.silences import Changed, Silence
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
class DeadRow:
    """A notification that was given up, for the page: `at` is Unix seconds, `reason` a word."""

    receiver: str
    at: float
    headline: str
    reason: str


class Silencer(Protocol):
    """What silences are changed by."""

    @property
    def now(self) -> float:
        """Unix seconds by the machine's clock, by which silences hold."""

    def listed(self) -> Sequence[Silence]:
        """Every silence of the last day, the next to end first."""

    async def add(self, raw: object) -> Changed:
        """Begin the silence that `raw` asks for, or raise ValueError with what is wrong."""

    async def expire(self, silence_id: str) -> Changed | None:
        """End a silence now; None where there is none of that id."""


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
    dead: Callable[[], Sequence[DeadRow]] = list
    """The last notifications that were given up, the newest first."""
    state_trouble: Callable[[], str] = str
    """What is wrong with the state directory, or nothing."""
    compatibility: Callable[[], bool] = lambda: True
    """Whether the series of postgres_exporter are there."""
    addresses: Callable[[], Mapping[str, str]] = dict
    """The name of the server at each HOST:PORT."""
    attribute: Callable[[Iterable[str]], Awaitable[None]] | None = None
    """Has it asked who is really behind the backends of servers with poolers in front, at most
    once a minute; what is found is on the board."""
    silencer: Silencer | None = None
    """None: there are no silences."""
