"""What `pg_stat_activity` held at one instant, grouped, and the counts that follow from it.

Names are the catalog's. A group is one row of `sources/sql/activity.sql`: backends that agree in
all of its labels. Ages are seconds by the server's own clock, never by ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple, TypeVar

Key = TypeVar("Key")

CLIENT_BACKEND = "client backend"
ACTIVE = "active"
IDLE = "idle"
IDLE_IN_TRANSACTION = ("idle in transaction", "idle in transaction (aborted)")
#: The class of waits for a heavyweight lock, which some other backend holds.
LOCK = "Lock"
#: Waits that hold work up. Client and Activity are idleness, Timeout is pg_sleep (pg-facts B).
WORK_WAITS = frozenset({LOCK, "LWLock", "IO", "IPC", "BufferPin", "Extension"})


class BackendGroup(NamedTuple):
    """Backends that share every label; `""` stands for what the catalog reports as NULL.

    A tuple, because every poll makes as many as there are rows.

    `oldest_pid` is the backend with the longest time in its state, `stale` how many have been idle
    for longer than the server's `stale_after`. `own`: the session that looked is one of them.
    """

    datname: str
    usename: str
    application_name: str
    client_addr: str
    state: str
    wait_event_type: str
    wait_event: str
    backend_type: str
    backends: int
    state_age_seconds: float | None = None
    transaction_age_seconds: float | None = None
    query_age_seconds: float | None = None
    oldest_pid: int | None = None
    stale: int = 0
    own: bool = False

    @property
    def holds_slot(self) -> bool:
        """Whether these backends count against `max_connections` (pg-facts A).

        On 18 one that is still authenticating is a client backend in state `starting`; a walsender
        passes through that state too and holds none.
        """
        return self.backend_type == CLIENT_BACKEND

    @property
    def idle_in_transaction(self) -> bool:
        """Whether a transaction is open and its client says nothing."""
        return self.state in IDLE_IN_TRANSACTION

    @property
    def waiting(self) -> bool:
        """Whether a statement is held up; an idle client's Client/ClientRead is not a wait."""
        return self.state == ACTIVE and self.wait_event_type in WORK_WAITS


@dataclass(frozen=True)
class Activity:
    """One reading: the server's clock (Unix seconds) and every backend, in groups."""

    at: float
    groups: tuple[BackendGroup, ...]

    @cached_property
    def clients(self) -> tuple[BackendGroup, ...]:
        """The groups whose backends hold a slot."""
        return tuple(group for group in self.groups if group.holds_slot)

    @cached_property
    def used(self) -> int:
        """Slots in use."""
        return sum(group.backends for group in self.clients)


def count_by(
    groups: Iterable[BackendGroup], key: Callable[[BackendGroup], Key]
) -> Mapping[Key, int]:
    """Backends per `key(group)`, largest first."""
    counts: dict[Key, int] = {}
    for group in groups:
        label = key(group)
        counts[label] = counts.get(label, 0) + group.backends
    return dict(sorted(counts.items(), key=itemgetter(1), reverse=True))
