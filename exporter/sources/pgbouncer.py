"""One PgBouncer, read at its console over one kept session.

Every poll reads pools, databases, lists, sums and the state; every 60 s, and on each new session,
the configuration and the users. Only the pools must be there: another command that fails, or that
this version does not know, is said once and its series are absent. Clients are read on every poll
where the configuration says so; otherwise, while some wait, now and then: a page names who waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import psycopg

from exporter.config.pooler import Pooler
from exporter.config.server import Polling
from exporter.snapshot.attribution import PoolSocket
from exporter.snapshot.pool import (
    ClientGroup,
    Pool,
    PoolDatabase,
    PoolerFacts,
    PoolerSnapshot,
    PoolStats,
)
from exporter.snapshot.server import Failure, Probe, Reason
from exporter.sources import pgbouncer_rows as rows
from exporter.sources.connection import Connection, peer_descriptors
from exporter.sources.credentials import login
from exporter.sources.errors import SourceError
from exporter.sources.probe import ConnectProbe
from exporter.sources.rows import text
from exporter.sources.session import Record, Session

log = logging.getLogger(__name__)

#: What the console says in `server_version`, whatever stands behind it.
_BOUNCER = b"/bouncer"
#: Statements of a probe, so that it waits for a server connection as an application does.
PROBE_STATEMENT = b"SELECT 1"
_CONSOLE_HINT = (
    "name PgBouncer's own database in the DSN: postgresql://stats_user@host:6432/pgbouncer"
)


class PgbouncerSource:
    """Reads one pooler; `poll`, `probe` and `sockets` may run side by side, two polls may not.

    Args:
        pooler: where it is, and what to read of it.
        polling: its deadlines and cadences.
        clock: a steady clock in seconds.
    """

    def __init__(
        self, pooler: Pooler, polling: Polling, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pooler = pooler
        self._polling = polling
        self._clock = clock
        self._session = self._new_session()
        self._probe = self._new_probe()
        self._version = ""
        self._local = True
        self._descriptors: int | None = None
        self._facts: PoolerFacts | None = None
        self._clients: tuple[ClientGroup, ...] | None = None
        self._due = {"facts": 0.0, "clients": 0.0}
        self._failing: set[str] = set()
        self._unknown: set[str] = set()
        self._last: dict[str, list[Record]] = {}

    async def poll(self, now: float) -> PoolerSnapshot:
        """One snapshot.

        Args:
            now: Unix seconds of the watcher's clock, for `taken_at`.

        Raises:
            SourceError: why there is none.
        """
        with self._session.surprise.caught():
            return await self._poll(now)

    async def _poll(self, now: float) -> PoolerSnapshot:
        started = self._clock()
        if await self._session.ready():
            self._due = dict.fromkeys(self._due, started)
            self._unknown.clear()
        until = self._clock() + self._polling.deadline
        found = await self._session.records(b"SHOW POOLS", rows.columns(Pool), until=until)
        pools = rows.values(Pool, found)
        databases = await self._optional("DATABASES", rows.columns(PoolDatabase), until)
        lists = await self._optional("LISTS", ("list", "items"), until)
        stats = await self._optional("STATS", rows.columns(PoolStats), until)
        state = await self._optional("STATE", ("key", "value"), until)
        facts = await self._refreshed_facts(until)
        clients = await self._refreshed_clients(pools, until)
        return PoolerSnapshot(
            taken_at=now,
            poll_seconds=self._clock() - started,
            facts=facts,
            all_pools=pools,
            all_databases=rows.values(PoolDatabase, databases or ()),
            lists=rows.lists(lists or ()),
            all_stats=rows.values(PoolStats, stats or ()),
            state=rows.state(state or ()),
            clients=clients,
        )

    async def probe(self, now: float) -> Probe:
        """What a client of a pool waits for, with the probe's credentials.

        Raises:
            ValueError: there are none.
        """
        if self._probe is None:
            raise ValueError("the probe of a pooler has credentials of its own")
        return await self._probe.look(now)

    async def sockets(self) -> tuple[PoolSocket, ...]:
        """Every socket of the pooler, clients and servers, at one instant.

        In a session of its own: a reading that hangs must not hold up a poll, and the console
        lets one in even at max_client_conn. It costs PgBouncer 0.6 ms for 800 clients.

        Raises:
            SourceError: why there are none.
        """
        session = self._new_session()
        try:
            with self._session.surprise.caught():
                await session.ready()
                until = self._clock() + self._polling.deadline
                columns = rows.columns(PoolSocket)
                found = await session.records(b"SHOW SOCKETS", columns, until=until)
                return rows.values(PoolSocket, found)
        finally:
            await session.close()

    async def adopt(self, pooler: Pooler, polling: Polling) -> None:
        """Go on with another configuration of the same pooler, over the session that there is."""
        before, self._pooler = self._pooler, pooler
        deadline, self._polling = self._polling.connect_deadline, polling
        self._session.connect_deadline = polling.connect_deadline
        if deadline != polling.connect_deadline or before.probe != pooler.probe:
            if self._probe is not None:
                await self._probe.close()
            self._probe = self._new_probe()

    async def close(self) -> None:
        """End the session, and a probe that is under way."""
        if self._probe is not None:
            await self._probe.close()
        await self._session.close()

    def _new_session(self) -> Session:
        return Session(
            self._pooler.name,
            lambda: login(self._pooler, database="pgbouncer"),
            self._greet,
            connect_deadline=self._polling.connect_deadline,
            prepared=False,
            clock=self._clock,
        )

    def _new_probe(self) -> ConnectProbe | None:
        pooler, credentials = self._pooler, self._pooler.probe.credentials
        if credentials is None:
            return None
        deadline = self._polling.connect_deadline
        return ConnectProbe(credentials, pooler.name, deadline, statement=PROBE_STATEMENT)

    async def _greet(self, connection: Connection) -> None:
        """Refuse what is not PgBouncer's console, and say what it is."""
        status = connection.pgconn.parameter_status(b"server_version") or b""
        if not status.endswith(_BOUNCER):
            raise SourceError(await _stranger(connection))
        self._version = text(status.removesuffix(_BOUNCER))
        self._local = connection.info.host.startswith(("/", "@"))
        self._descriptors = peer_descriptors(connection)

    async def _refreshed_facts(self, until: float) -> PoolerFacts:
        now = self._clock()
        if self._facts is None or now >= self._due["facts"]:
            config = await self._optional("CONFIG", ("key", "value"), until)
            users = await self._optional("USERS", rows.USER_COLUMNS, until)
            read = config is not None or "CONFIG" in self._unknown
            wait = self._polling.facts_interval if read else self._polling.counters_interval
            self._due["facts"] = now + wait
            if read or self._facts is None:
                found = rows.facts(self._version, config or (), users or (), local=self._local)
                self._facts = replace(found, descriptors=self._descriptors)
        return self._facts

    async def _refreshed_clients(
        self, pools: Collection[Pool], until: float
    ) -> tuple[ClientGroup, ...] | None:
        """The clients, where they are asked for or some wait; None where they are not known."""
        now = self._clock()
        if not self._pooler.clients:
            if not any(pool.cl_waiting for pool in pools):
                self._clients = None
                self._due["clients"] = now
                return None
            if now < self._due["clients"]:
                return self._clients
        found = await self._optional("CLIENTS", rows.CLIENT_COLUMNS, until)
        self._due["clients"] = now + self._polling.counters_interval
        self._clients = None if found is None else rows.clients(found)
        return self._clients

    async def _optional(
        self, command: str, columns: Collection[str], until: float
    ) -> list[Record] | None:
        """The rows of SHOW `command`; None where it fails, which is said once.

        Raises:
            SourceError: the session has ended.
        """
        if command in self._unknown:
            return None
        if self._session.is_busy:
            return self._last.get(command)
        try:
            found = await self._session.records(f"SHOW {command}".encode(), columns, until=until)
        except SourceError as error:
            if not self._session.is_open:
                raise
            self._note_failing(command, error.failure)
            # Late is not gone: the last answer stands in until the next poll.
            return self._last.get(command) if error.failure.reason is Reason.LATE else None
        self._failing.discard(command)
        self._last[command] = found
        return found

    def _note_failing(self, command: str, failure: Failure) -> None:
        """Say once that a command fails; one that this version does not know is expected to."""
        if failure.message.startswith("invalid command"):
            self._unknown.add(command)
            return
        if command not in self._failing:
            self._failing.add(command)
            keys = {"pooler": self._pooler.name, "read": command, "reason": failure.reason.value}
            log.warning("slow read failed", extra={**keys, "detail": failure.message})


async def _stranger(connection: Connection) -> Failure:
    """What answers where PgBouncer's console should."""
    answer = await _version(connection)
    if answer is None:
        said = "the DSN leads to a Postgres server, or through a pool to one, not to a console"
        return Failure(Reason.ERROR, said, _CONSOLE_HINT)
    said = f"the DSN leads to {answer[:60]}, which is not PgBouncer"
    return Failure(Reason.ERROR, said, "only PgBouncer's console is read; leave this pooler out")


async def _version(connection: Connection) -> str | None:
    """What SHOW VERSION says, which Postgres does not know."""
    try:
        cursor = await connection.execute(b"SHOW VERSION")
    except psycopg.DatabaseError:
        return None
    result = cursor.pgresult
    raw = result.get_value(0, 0) if result is not None and result.ntuples else None
    return text(raw) or "something unknown"
