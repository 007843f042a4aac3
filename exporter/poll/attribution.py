"""Who is really behind a backend that a pooler holds: asked when it matters, beside the polls.

A round reads the server's held backends, one SHOW SOCKETS of each pooler, and the backends again.
It is a job of its own, so that no page waits for it: what it finds is in the next notification.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.alerting.alerter import Book
from exporter.snapshot.activity import ACTIVE, Activity
from exporter.snapshot.attribution import (
    LEAST_SECONDS,
    Attributed,
    HeldBackend,
    PoolSocket,
    SocketReading,
    attribute,
    leads_here,
)
from exporter.snapshot.holders import oldest_idle_transaction
from exporter.snapshot.pool import PoolerSnapshot
from exporter.sources.errors import SourceError

#: How often the need for a round is looked at; it costs nothing.
LOOK_SECONDS = 2.0
#: A pooler's sockets are asked for this often at most: they cost it CPU for each client.
PERIOD_SECONDS = 60.0


class Holding(Protocol):
    """Where held backends come from."""

    async def held(self) -> tuple[HeldBackend, ...]:
        """The client backends that hold a transaction, or a `SourceError`."""


class Sockets(Protocol):
    """Where a pooler's sockets come from."""

    async def sockets(self) -> tuple[PoolSocket, ...]:
        """All of them at one instant, or a `SourceError`."""


@dataclass(frozen=True, slots=True)
class Front:
    """A pooler in front of the server.

    `snapshot` is its last one, None where it was never seen; `addresses` are the server's, as its
    DSN has them.
    """

    name: str
    source: Sockets
    snapshot: PoolerSnapshot | None = None
    addresses: tuple[str, ...] = ()

    async def read(self) -> SocketReading:
        """Its sockets; raises SourceError."""
        sockets = await self.source.sockets()
        if self.snapshot is None:
            return SocketReading(self.name, sockets)
        databases = {each.name: each for each in self.snapshot.databases}
        known = leads_here(databases.values(), self.addresses)
        return SocketReading(self.name, sockets, databases, known)


async def look_behind(server: Holding, fronts: Sequence[Front], at: float) -> Attributed | None:
    """One round; None where nobody holds a transaction, and no pooler was asked.

    A pooler that does not answer is named, and what it holds is not found.

    Raises:
        SourceError: the server did not say whom it holds.
    """
    before = await server.held()
    if not before:
        return None
    readings, silent = [], []
    read = await asyncio.gather(*(each.read() for each in fronts), return_exceptions=True)
    for front, each in zip(fronts, read, strict=True):
        if isinstance(each, SocketReading):
            readings.append(each)
        elif isinstance(each, SourceError):
            silent.append(front.name)
        else:
            raise each
    after = await server.held()
    return Attributed(at, attribute(before, readings, after), tuple(silent))


@dataclass(frozen=True, slots=True)
class Scene:
    """What an attributor needs to know of its server and the poolers in front of it."""

    source: Holding
    fronts: tuple[Front, ...] = ()
    activity: Activity | None = None
    books: tuple[Book, ...] = ()
    """Of the server and of its poolers."""
    addresses: bool = True
    """Whether client addresses may be known."""

    soon_idle: float = math.inf
    """Seconds of an idle transaction after which an alert that fires at once is to be expected."""

    @property
    def needed(self) -> bool:
        """Whether somebody holds a transaction while an alert is pending, firing or near."""
        activity = self.activity
        if activity is None or not holds_transaction(activity):
            return False
        idle = oldest_idle_transaction(activity)
        near = idle is not None and idle.seconds >= self.soon_idle
        return near or any(book.alerts for book in self.books)


def holds_transaction(activity: Activity) -> bool:
    """Whether a client backend has held a transaction for long enough to be attributed."""
    return any(
        (group.idle_in_transaction or group.state == ACTIVE)
        and (group.transaction_age_seconds or 0.0) >= LEAST_SECONDS
        for group in activity.clients
    )


class Attributor:
    """The rounds of one server.

    Args:
        scene: how things stand, whenever it is asked.
        tell: what to do with the outcome of a round.
        clock: seconds of the watcher's clock.
    """

    def __init__(
        self,
        scene: Callable[[], Scene],
        tell: Callable[[Attributed], None],
        clock: Callable[[], float],
    ) -> None:
        self._scene = scene
        self._tell = tell
        self._clock = clock
        self._asked_at = -math.inf
        self._round = asyncio.Lock()

    async def turn(self) -> None:
        """A round, where an incident needs one."""
        if self._scene().needed:
            await self.ask()

    async def ask(self) -> None:
        """A round now, unless the poolers were asked within the last minute."""
        async with self._round:
            scene, now = self._scene(), self._clock()
            if not scene.fronts or now - self._asked_at < PERIOD_SECONDS:
                return
            try:
                found = await look_behind(scene.source, scene.fronts, now)
            except SourceError:
                # The polls say why; nothing is known of who is behind.
                return
            if found is not None:
                self._asked_at = now
                self._tell(found if scene.addresses else found.without_addresses())
