"""Everything known of one pooler at one instant, and what its counters did lately."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.snapshot.attribution import Attributed
from exporter.snapshot.holders import Holder
from exporter.snapshot.pool import WAITING, PoolerSnapshot, PoolKey, PoolStats, PoolUse
from exporter.snapshot.server import Failure, Probe, Reason

#: Wait per transaction is over the readings of this long.
WAIT_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PoolerState:
    """The last good snapshot of a pooler, whether it is current, and what follows from it.

    `server` is the watched server that the pooler stands in front of, or the pooler's own name
    where the configuration names none. `waits` holds seconds of waiting per transaction by
    database. `capacity` is how many of the server's connections the pooler may open, None where it
    names no server or was never seen.
    """

    server: str
    pooler: str
    snapshot: PoolerSnapshot | None = None
    failure: Failure | None = None
    failing_since: float | None = None
    """When polls began to fail, Unix seconds of the watcher's steady clock."""
    failures: Mapping[Reason, int] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    waits: Mapping[str, float] = field(default_factory=dict)
    capacity: int | None = None
    warnings: tuple[str, ...] = ()
    attributed: Attributed | None = None
    """Who holds its server connections in transactions, as of the last round that was needed."""
    exports_clients: bool = False
    """Whether the clients by application are exported, not only told."""

    @property
    def up(self) -> bool:
        """Whether the last poll saw the pooler."""
        return self.snapshot is not None and self.failure is None


def observed(
    state: PoolerState, snapshot: PoolerSnapshot, addresses: Iterable[str] | None
) -> PoolerState:
    """`state` after a good poll.

    Args:
        state: what was known.
        snapshot: what the poll showed.
        addresses: HOST:PORT of the server that the pooler stands in front of, None where the
            configuration names none.
    """
    known = tuple(addresses or ())
    capacity = None
    if addresses is not None and snapshot.all_databases:
        capacity = snapshot.capacity(leads_to(snapshot, known))
    return replace(
        state,
        snapshot=snapshot,
        failure=None,
        failing_since=None,
        capacity=capacity,
        warnings=warnings_of(snapshot, known),
    )


class Waits:
    """Seconds that a client waits for a server connection, per transaction, by database.

    The console has sums alone, and its averages are wrong before 1.23, so they are made from
    differences. A sum that falls means that the pooler has restarted; what was before is forgotten.
    """

    def __init__(self, window: float = WAIT_WINDOW_SECONDS) -> None:
        self._window = window
        self._seen: dict[str, deque[tuple[float, int, int]]] = {}

    def update(self, at: float, stats: Iterable[PoolStats]) -> dict[str, float]:
        """The waits over the window that ends with these sums.

        Args:
            at: seconds of the watcher's clock.
            stats: the sums, one for each database. A database that has served nobody in the
                window, or was not seen before, is left out.
        """
        found: dict[str, float] = {}
        seen: dict[str, deque[tuple[float, int, int]]] = {}
        for each in stats:
            if each.total_wait_time is None or each.served is None:
                continue
            readings = self._seen.get(each.database, deque())
            if readings and (
                each.total_wait_time < readings[-1][1] or each.served < readings[-1][2]
            ):
                readings.clear()
            readings.append((at, each.total_wait_time, each.served))
            while readings[0][0] < at - self._window:
                readings.popleft()
            seen[each.database] = readings
            served = each.served - readings[0][2]
            if served > 0:
                found[each.database] = (each.total_wait_time - readings[0][1]) / 1e6 / served
        self._seen = seen
        return found


def by_need(snapshot: PoolerSnapshot) -> list[PoolUse]:
    """The pools: first those whose clients have waited the longest, then the fullest."""

    def rank(use: PoolUse) -> tuple[float, int, float]:
        return use.pool.wait_seconds or 0.0, use.pool.cl_waiting or 0, use.ratio

    return sorted(snapshot.pool_use(), key=rank, reverse=True)


def worst(snapshot: PoolerSnapshot) -> PoolUse | None:
    """The pool whose clients have waited the longest, or else the one that is used the most."""
    return next(iter(by_need(snapshot)), None)


def waiting_applications(snapshot: PoolerSnapshot, pool: PoolKey | None) -> tuple[Holder, ...]:
    """Who waits in `pool` (in every pool where it is None), most clients first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for group in snapshot.clients or ():
        if group.state == WAITING and pool in (None, (group.database, group.user)):
            counts[group.application_name, group.user, group.database] += group.clients
    return tuple(Holder(*key, used) for key, used in counts.most_common())


def leads_to(snapshot: PoolerSnapshot, addresses: Iterable[str]) -> tuple[str, ...]:
    """The names of the databases that lead to one of `addresses`.

    Addresses (HOST:PORT) are compared as they are written. Where none of them agrees, which is
    usual behind an alias, every database is taken to lead there.
    """
    wanted = set(addresses)
    found = [each.name for each in snapshot.databases if wanted & set(each.addresses)]
    return tuple(found or (each.name for each in snapshot.databases))


def warnings_of(snapshot: PoolerSnapshot, addresses: Iterable[str]) -> tuple[str, ...]:
    """What makes the numbers of this pooler less than they seem, a sentence each.

    Args:
        snapshot: the last reading.
        addresses: HOST:PORT of the server that the configuration says it is in front of; empty
            where it names none.
    """
    found = []
    if snapshot.facts.so_reuseport and not snapshot.facts.local:
        found.append(
            "so_reuseport is on: several processes may answer on this address, each with clients of"
            " its own; list each process by the directory of its unix socket"
        )
    found += [
        f"nothing limits the server connections of database {each.name}: its pool_size is 0"
        for each in snapshot.databases
        if each.pool_size == 0 and not each.max_connections
    ]
    wanted = set(addresses)
    hosts = {address for each in snapshot.databases for address in each.addresses}
    if wanted and not wanted & hosts and len(hosts) > 1:
        listed = ", ".join(sorted(hosts)[:5])
        found.append(
            f"its databases lead to {len(hosts)} addresses ({listed}), none of them as the server's"
            " dsn is written; all are counted as connections of that server"
        )
    return tuple(found)
