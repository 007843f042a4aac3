"""From a backend that holds a transaction to the client behind the pooler; pure.

The backends are read, then the pooler's sockets in one command, then the backends again. A backend
whose transaction began at the same microsecond in both readings has been in that one transaction
all the while, and a pooler gives no server connection to another client within a transaction. So
the client that the sockets link to it is the one; everything less is reported as unknown. Two
commands instead of one broke a third of the links under load, and pointers are used again (pg-facts
E).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.snapshot.activity import Activity
from exporter.snapshot.pool import Pool, PoolDatabase

#: A younger transaction may well end between the readings.
LEAST_SECONDS = 1.0
#: A round is made every minute while one is needed; what is older than two is of another time.
RECENT_SECONDS = 120.0
#: What Postgres shows as the port of a client on a unix socket.
UNIX_PORT = -1
#: Ages are read a moment apart; a transaction this much younger may still be the same one.
_SLACK_SECONDS = 2.0
_UNIX = "unix"


@dataclass(frozen=True, slots=True)
class HeldBackend:
    """A client backend with an open transaction: one row of sources/sql/held.sql.

    The starts are microseconds since 1970 by the server's clock, `seconds` is how old the
    transaction was. `client_addr` is "" on a unix socket and where addresses are not read.
    """

    pid: int
    backend_start: int
    xact_start: int
    seconds: float
    datname: str = ""
    usename: str = ""
    application_name: str = ""
    client_addr: str = ""
    client_port: int | None = None
    state: str = ""

    @property
    def transaction(self) -> tuple[int, int, int]:
        """What no other transaction has."""
        return self.pid, self.backend_start, self.xact_start


@dataclass(frozen=True, slots=True)
class PoolSocket:
    """One row of SHOW SOCKETS: a client's (`type` C) or a server's (S), and what it is linked to.

    `remote_pid` is the backend of a server socket, and the process of a client on a unix socket.
    """

    type: str
    user: str = ""
    database: str = ""
    state: str = ""
    addr: str = ""
    port: int | None = None
    local_addr: str = ""
    local_port: int | None = None
    ptr: str = ""
    link: str = ""
    remote_pid: int | None = None
    application_name: str = ""


@dataclass(frozen=True, slots=True)
class SocketReading:
    """The sockets of one pooler at one instant.

    `databases` are those that it knows, by the names that clients ask for; `leads_here` the names
    of those that are known to lead to the server in question.
    """

    pooler: str
    sockets: tuple[PoolSocket, ...]
    databases: Mapping[str, PoolDatabase] = field(default_factory=dict)
    leads_here: frozenset[str] = frozenset()

    def claims(self, held: HeldBackend) -> tuple[PoolSocket, ...]:
        """Its connections to the backend `held`.

        Other servers have backends of the same number. A database whose address is not written as
        the server's dsn has it may be the same server all the same; then both ends of the
        connection must agree, and on a unix socket there is nothing that could.
        """
        return tuple(
            each
            for each in self.sockets
            if each.type == "S"
            and each.remote_pid == held.pid
            and (each.database in self.leads_here or _same_ends(held, each))
        )


def leads_here(databases: Iterable[PoolDatabase], addresses: Iterable[str]) -> frozenset[str]:
    """The names of the databases that are known to lead to a server at one of `addresses`.

    By HOST:PORT as they are written; and by a unix socket with one of the ports, where the pooler
    uses no other unix socket.
    """
    known, wanted = tuple(databases), set(addresses)
    local = [each for each in known if each.host.startswith(("/", "@"))]
    ports = {address.rpartition(":")[2] for address in wanted}
    one = len({(each.host, each.port) for each in local}) == 1
    by_unix = {each.name for each in local if one and str(each.port) in ports}
    return frozenset(by_unix | {each.name for each in known if wanted & set(each.addresses)})


def _same_ends(held: HeldBackend, server: PoolSocket) -> bool:
    """Whether the pooler's end of a TCP connection is the one that the server sees."""
    ends = held.client_addr, held.client_port
    return bool(held.client_addr) and (server.local_addr, server.local_port) == ends


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who is behind a backend that holds a transaction.

    `seconds` is the transaction's age, as of `seen_seconds` ago. The rest is of the client, as the
    pooler knows it: `datname` is what it asked the pooler for, `client_pid` its process where it
    came by a unix socket of the pooler's machine. Where `doubt` says something, nobody is named.
    """

    pid: int
    seconds: float
    state: str
    pooler: str
    application_name: str = ""
    usename: str = ""
    datname: str = ""
    client_addr: str = ""
    client_port: int | None = None
    client_pid: int | None = None
    doubt: str = ""
    seen_seconds: float = 0.0

    def without_address(self) -> Attribution:
        """The same where addresses are not to be known."""
        return replace(self, client_addr="", client_port=None, client_pid=None)


@dataclass(frozen=True, slots=True)
class Attributed:
    """One round: when it was (our clock), whom it found, and the poolers that did not answer."""

    at: float
    found: tuple[Attribution, ...] = ()
    silent: tuple[str, ...] = ()

    def recent(self, now: float) -> tuple[Attribution, ...]:
        """Whom it found, while the transactions may still be those of now."""
        ago = max(0.0, now - self.at)
        if ago > RECENT_SECONDS:
            return ()
        return tuple(replace(each, seen_seconds=ago) for each in self.found)

    def lasting(self, now: float, taken_at: float, activity: Activity) -> tuple[Attribution, ...]:
        """The recent ones, less those whose transaction has ended on the server.

        A transaction only grows older: where none in `activity`, read at `taken_at`, is as old, it
        is over.
        """
        ages = (group.transaction_age_seconds or 0.0 for group in activity.clients)
        oldest, since = max(ages, default=0.0), taken_at - self.at
        return tuple(
            each for each in self.recent(now) if each.seconds + since <= oldest + _SLACK_SECONDS
        )

    def lent(self, now: float, pools: Iterable[Pool]) -> tuple[Attribution, ...]:
        """The recent ones, less those of databases of which `pools` use no server connection."""
        busy = {pool.database for pool in pools if pool.used is None or pool.used}
        return tuple(
            each for each in self.recent(now) if (each.datname in busy if each.datname else busy)
        )

    def of(self, pooler: str) -> Attributed:
        """What one pooler holds."""
        return replace(self, found=tuple(each for each in self.found if each.pooler == pooler))

    def without_addresses(self) -> Attributed:
        """The same where addresses are not to be known."""
        return replace(self, found=tuple(each.without_address() for each in self.found))


def attribute(
    before: Iterable[HeldBackend],
    readings: Iterable[SocketReading],
    after: Iterable[HeldBackend],
) -> tuple[Attribution, ...]:
    """Who is behind each backend of `before` that a pooler holds, in the same order.

    A backend that is in no reading came by another way, and is left out: its own addresses are
    true.
    """
    poolers = tuple(readings)
    lasting = {each.transaction for each in after}
    found = (_attribution(each, poolers, lasting) for each in before)
    return tuple(each for each in found if each is not None)


def _attribution(
    held: HeldBackend, readings: tuple[SocketReading, ...], lasting: set[tuple[int, int, int]]
) -> Attribution | None:
    claims = [(reading, each) for reading in readings for each in reading.claims(held)]
    if not claims:
        return None
    reading, server = claims[0]
    unknown = Attribution(held.pid, held.seconds, held.state, reading.pooler)
    proved = [claim for claim in claims if not _mismatch(held, *claim)]
    if held.transaction not in lasting or held.seconds < LEAST_SECONDS:
        return _doubtful(unknown, "the transaction ended while it was looked at")
    if not proved:
        return _doubtful(unknown, _mismatch(held, reading, server))
    if len(proved) > 1:
        return _doubtful(unknown, "several connections of poolers claim this backend")
    reading, server = proved[0]
    clients = [each for each in reading.sockets if each.type == "C" and each.ptr == server.link]
    if len(clients) != 1 or clients[0].link != server.ptr or "active" not in clients[0].state:
        return _doubtful(unknown, "no client is linked to the backend's connection")
    return _of_client(held, reading.pooler, clients[0])


def _mismatch(held: HeldBackend, reading: SocketReading, server: PoolSocket) -> str:
    """Why the pooler's connection may not be the backend's; "" where everything agrees."""
    unix = server.addr.startswith(_UNIX)
    if unix != (held.client_port == UNIX_PORT):
        return "one of pooler and server sees a unix socket, the other does not"
    if not unix and server.local_port != held.client_port:
        return "the ports of pooler and server disagree: addresses are translated between them"
    if not unix and held.client_addr and server.local_addr != held.client_addr:
        return "the addresses of pooler and server disagree: they are translated between them"
    if "active" not in server.state:
        return "the pooler says that nobody uses the connection"
    known = reading.databases.get(server.database)
    datname = known.database if known is not None and known.database else server.database
    if held.datname != datname:
        return "the databases of pooler and server disagree"
    usename = known.force_user if known is not None and known.force_user else server.user
    return "" if held.usename == usename else "the roles of pooler and server disagree"


def _doubtful(unknown: Attribution, doubt: str) -> Attribution:
    return Attribution(unknown.pid, unknown.seconds, unknown.state, unknown.pooler, doubt=doubt)


def _of_client(held: HeldBackend, pooler: str, client: PoolSocket) -> Attribution:
    unix = client.addr.startswith(_UNIX)
    return Attribution(
        held.pid,
        held.seconds,
        held.state,
        pooler,
        client.application_name,
        client.user,
        client.database,
        _UNIX if unix else client.addr,
        None if unix else client.port,
        client.remote_pid if unix and client.remote_pid else None,
    )
