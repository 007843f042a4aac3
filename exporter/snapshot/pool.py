"""What a PgBouncer's console showed at one instant, and what follows from it.

Names are the console's. A number is None where this version of PgBouncer has no such column, or
where the command that holds it failed; nothing is derived from it then. Versions: 1.18 to 1.26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: The console's own database; its pool holds the sessions of those who look.
CONSOLE = "pgbouncer"

WAITING = "waiting"
"""The state of a client in SHOW CLIENTS that waits for a server connection."""

PoolKey = tuple[str, str]
"""database, user."""


def total(numbers: Iterable[int | None]) -> int | None:
    """The sum of those that are known; None where none is.

    >>> total([2, None, 3]), total([None])
    (5, None)
    """
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Pool:
    """One row of SHOW POOLS: clients (`cl_`) and server connections (`sv_`) of a pool."""

    database: str
    user: str
    pool_mode: str = ""
    cl_active: int | None = None
    cl_waiting: int | None = None
    cl_active_cancel_req: int | None = None
    cl_waiting_cancel_req: int | None = None
    sv_active: int | None = None
    sv_active_cancel: int | None = None
    sv_being_canceled: int | None = None
    sv_idle: int | None = None
    sv_used: int | None = None
    sv_tested: int | None = None
    sv_login: int | None = None
    maxwait: int | None = None
    maxwait_us: int | None = None

    @property
    def key(self) -> PoolKey:
        """What tells pools apart."""
        return self.database, self.user

    @property
    def used(self) -> int | None:
        """Server connections that no other client can have now.

        `sv_idle` is free, and so is `sv_used`, whose name misleads: it is idle for longer than
        `server_check_delay` (https://www.pgbouncer.org/usage.html#show-pools).
        """
        parts = (self.sv_active, self.sv_active_cancel, self.sv_being_canceled)
        return total((*parts, self.sv_tested, self.sv_login))

    @property
    def connections(self) -> int | None:
        """Server connections that are open or being opened, free ones too."""
        return total((self.used, self.sv_idle, self.sv_used))

    @property
    def clients(self) -> int | None:
        """Clients of the pool, whatever they do."""
        parts = (self.cl_active_cancel_req, self.cl_waiting_cancel_req)
        return total((self.cl_active, self.cl_waiting, *parts))

    @property
    def wait_seconds(self) -> float | None:
        """How long the client that waits the longest has waited by now.

        `maxwait` alone is whole seconds; `maxwait_us` is the rest of it.
        """
        if self.maxwait is None:
            return None
        return self.maxwait + (self.maxwait_us or 0) / 1e6


@dataclass(frozen=True, slots=True)
class PoolDatabase:
    """One row of SHOW DATABASES. `name` is what clients ask for, `database` what the server has.

    `reserve_pool_size` was called `reserve_pool` before 1.24. A limit of 0 is none.
    """

    name: str
    host: str = ""
    port: int | None = None
    database: str = ""
    force_user: str = ""
    pool_mode: str = ""
    pool_size: int | None = None
    min_pool_size: int | None = None
    reserve_pool_size: int | None = None
    max_connections: int | None = None
    current_connections: int | None = None
    max_client_connections: int | None = None
    current_client_connections: int | None = None
    paused: int | None = None
    disabled: int | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """HOST:PORT where it leads; since 1.17 a comma-separated list is tried in turn.

        >>> PoolDatabase("shop", host="10.0.0.5,::1", port=5432).addresses
        ('10.0.0.5:5432', '[::1]:5432')
        """
        hosts = [host.strip() for host in self.host.split(",") if host.strip()]
        return tuple(f"{f'[{host}]' if ':' in host else host}:{self.port}" for host in hosts)


@dataclass(frozen=True, slots=True)
class PoolStats:
    """One row of SHOW STATS: sums since the process began, times in microseconds.

    The averages beside them are not read: `avg_wait_time` is wrong before 1.23.
    """

    database: str
    total_xact_count: int | None = None
    total_query_count: int | None = None
    total_received: int | None = None
    total_sent: int | None = None
    total_xact_time: int | None = None
    total_query_time: int | None = None
    total_wait_time: int | None = None
    total_server_assignment_count: int | None = None
    total_client_parse_count: int | None = None
    total_server_parse_count: int | None = None
    total_bind_count: int | None = None

    @property
    def served(self) -> int | None:
        """How often a client was given a server connection.

        Transactions are the nearest count before 1.23; in session pooling they are too many.
        """
        if self.total_server_assignment_count is not None:
            return self.total_server_assignment_count
        return self.total_xact_count


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """Rows of SHOW CLIENTS that agree in all of this."""

    database: str
    user: str
    application_name: str
    state: str
    clients: int


@dataclass(frozen=True, slots=True)
class PoolUser:
    """One row of SHOW USERS: the limits that differ from the configuration's (1.24 and later)."""

    name: str
    pool_size: int | None = None
    reserve_pool_size: int | None = None
    max_user_connections: int | None = None
    max_user_client_connections: int | None = None

    @property
    def limits(self) -> tuple[int | None, ...]:
        """All four, in the order of the console."""
        sizes = (self.pool_size, self.reserve_pool_size)
        return *sizes, self.max_user_connections, self.max_user_client_connections


@dataclass(frozen=True, slots=True)
class PoolerFacts:
    """What changes rarely: the version, SHOW CONFIG and SHOW USERS; `local` is a unix socket."""

    version: str
    max_client_conn: int | None = None
    max_user_connections: int | None = None
    max_user_client_connections: int | None = None
    so_reuseport: bool = False
    local: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    """Those of SHOW CONFIG that `pgheadroom doctor` looks at, as the console writes them."""
    descriptors: int | None = None
    """File descriptors that the process may have; only seen over a unix socket."""
    users: Mapping[str, PoolUser] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """A pool's server connections against what it may have; `limit` is never 0."""

    pool: Pool
    used: int
    pool_size: int
    reserve_pool_size: int

    @property
    def limit(self) -> int:
        """Server connections that the pool may open."""
        return self.pool_size + self.reserve_pool_size

    @property
    def ratio(self) -> float:
        """In use over what it may open; passes 1 after a limit was lowered."""
        return self.used / self.limit


@dataclass(frozen=True, slots=True)
class LimitUse:
    """What is used of one limit; `limit` says which: `database_connections`, `user_clients`..."""

    limit: str
    name: str
    used: int
    most: int

    @property
    def ratio(self) -> float:
        """Used over the limit."""
        return self.used / self.most


@dataclass(frozen=True, slots=True)
class PoolerSnapshot:
    """One good poll. `taken_at` is our clock in Unix seconds, `poll_seconds` what it took.

    `clients` is None where SHOW CLIENTS was not asked.
    """

    taken_at: float
    poll_seconds: float
    facts: PoolerFacts
    all_pools: tuple[Pool, ...] = ()
    all_databases: tuple[PoolDatabase, ...] = ()
    lists: Mapping[str, int] = field(default_factory=dict)
    all_stats: tuple[PoolStats, ...] = ()
    state: Mapping[str, bool] = field(default_factory=dict)
    clients: tuple[ClientGroup, ...] | None = None

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The pools less the console's own."""
        return tuple(pool for pool in self.all_pools if pool.database != CONSOLE)

    @property
    def databases(self) -> tuple[PoolDatabase, ...]:
        """The databases less the console's own."""
        return tuple(database for database in self.all_databases if database.name != CONSOLE)

    @property
    def stats(self) -> tuple[PoolStats, ...]:
        """The sums less the console's own."""
        return tuple(stats for stats in self.all_stats if stats.database != CONSOLE)

    @property
    def stopped(self) -> bool:
        """Whether a PAUSE or SUSPEND without a database holds everything up.

        SHOW DATABASES does not show it; SHOW STATE does, and is there from 1.19 on.
        """
        return self.state.get("paused", False) or self.state.get("suspended", False)

    def paused(self) -> dict[str, bool]:
        """Whether clients of each database are held up by a PAUSE."""
        known = (each for each in self.databases if each.paused is not None)
        return {each.name: self.stopped or bool(each.paused) for each in known}

    @property
    def used_clients(self) -> int | None:
        """Clients against `max_client_conn`: those of the console take up room too (pg-facts D)."""
        return self.lists.get("used_clients")

    def client_use(self) -> LimitUse | None:
        """Clients against `max_client_conn`."""
        return _limit_use("clients", "", self.used_clients, self.facts.max_client_conn)

    def pool_use(self) -> tuple[PoolUse, ...]:
        """Every pool whose size is known, against its own size and reserve."""
        known = {database.name: database for database in self.databases}
        found = []
        for pool in self.pools:
            size, reserve = self._size(known.get(pool.database), pool.user)
            if pool.used is not None and size + reserve > 0:
                found.append(PoolUse(pool, pool.used, size, reserve))
        return tuple(found)

    def limit_use(self) -> tuple[LimitUse, ...]:
        """Every limit of a database or a user that is set, and what is used of it."""
        uses = [
            use
            for each in self.databases
            for use in (
                _limit_use(
                    "database_connections",
                    each.name,
                    each.current_connections,
                    each.max_connections,
                ),
                _limit_use(
                    "database_clients",
                    each.name,
                    each.current_client_connections,
                    each.max_client_connections,
                ),
            )
        ]
        connections = _by_user((pool.user, pool.connections) for pool in self.pools)
        clients = _by_user((pool.user, pool.clients) for pool in self.pools)
        for user, used in connections.items():
            limits = self._user_limits(user)
            uses.append(_limit_use("user_connections", user, used, limits[0]))
            uses.append(_limit_use("user_clients", user, clients.get(user, 0), limits[1]))
        return tuple(use for use in uses if use is not None)

    def capacity(self, names: Iterable[str]) -> int:
        """Server connections that the databases of these names may have open at once, at most.

        Each (database, user) that has had a client is a pool of its own; a database that nobody
        has used yet counts once. The limits of databases and of users are upper bounds as well.
        """
        wanted = set(names)
        by_database: Counter[str] = Counter()
        by_user: Counter[str] = Counter()
        bounded = 0
        for each in self.databases:
            if each.name not in wanted:
                continue
            users = [pool.user for pool in self.pools if pool.database == each.name]
            for user in users or [each.force_user]:
                # From 1.24 on a pool_size of 0 was seen to be no limit: the database's own is all.
                size = sum(self._size(each, user)) or each.max_connections or 0
                by_database[each.name] += size
                by_user[user] += size
            most = each.max_connections or by_database[each.name]
            bounded += min(by_database[each.name], most)
        limits = {user: self._user_limits(user)[0] or size for user, size in by_user.items()}
        return min(bounded, sum(min(size, limits[user]) for user, size in by_user.items()))

    def _size(self, database: PoolDatabase | None, user: str) -> tuple[int, int]:
        """`pool_size` and reserve of a pool; a user's own go before the database's (1.24)."""
        own = self.facts.users.get(user, PoolUser(user))
        size, reserve = own.pool_size, own.reserve_pool_size
        if size is None:
            size = database.pool_size if database is not None else None
        if reserve is None:
            reserve = database.reserve_pool_size if database is not None else None
        return size or 0, (reserve or 0) if size else 0

    def _user_limits(self, user: str) -> tuple[int | None, int | None]:
        """What a user may have of server connections and of clients."""
        facts = self.facts
        own = facts.users.get(user, PoolUser(user))
        return (
            facts.max_user_connections
            if own.max_user_connections is None
            else own.max_user_connections,
            facts.max_user_client_connections
            if own.max_user_client_connections is None
            else own.max_user_client_connections,
        )


def _limit_use(limit: str, name: str, used: int | None, most: int | None) -> LimitUse | None:
    """None where the limit is 0, which is none, or something of it is not known."""
    return LimitUse(limit, name, used, most) if used is not None and most else None


def _by_user(pairs: Iterable[tuple[str, int | None]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for user, number in pairs:
        counts[user] += number or 0
    return dict(counts)
