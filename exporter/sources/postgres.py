"""One Postgres server: three cadences of reads on one kept session make a snapshot.

Every poll reads the activity; every 10 s the counters; every 60 s, and on each new session, the
settings and names. A slow read that fails never fails the poll: the last good one is kept.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from importlib import resources

from exporter.config.difference import same_login
from exporter.config.server import Polling, Server
from exporter.snapshot.activity import LOCK, Activity
from exporter.snapshot.attribution import HeldBackend
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.providers import Reserve
from exporter.snapshot.server import (
    Failure,
    Probe,
    Reason,
    ServerFacts,
    SessionCounters,
    Snapshot,
)
from exporter.sources import rows
from exporter.sources.connection import Connection, Row, connect
from exporter.sources.credentials import login
from exporter.sources.errors import SourceError
from exporter.sources.pooled import POOLED, refuse_pooler
from exporter.sources.probe import ConnectProbe
from exporter.sources.rows import Names
from exporter.sources.session import Params, Session

log = logging.getLogger(__name__)

#: A backend of a role or database made since the last read of names brings the next read forward,
#: and a slow read that failed is tried again after this long.
EARLY_SECONDS = 10.0
#: While somebody waits for a lock, whom for is asked this often at most: the answer costs the
#: server's lock manager a moment.
BLOCKERS_SECONDS = 5.0
#: What a reading of held backends may take; a poll that is due waits for it.
HELD_SECONDS = 0.25
_BUSY = Failure(Reason.LATE, "an earlier statement is still under way")
#: Less of a poll's deadline than this is not worth beginning a slow read in.
_LEAST_RATIO = 0.1


def _sql(name: str) -> bytes:
    return (resources.files("exporter.sources") / "sql" / name).read_bytes()


_ACTIVITY = _sql("activity.sql")
_SETTINGS = _sql("settings.sql")
_PARAMETERS = _sql("parameters.sql")
_DATABASES = _sql("databases.sql")
_ROLES = _sql("roles.sql")
_BLOCKERS = _sql("blockers.sql")
_HELD = _sql("held.sql")
_COUNTERS_13 = _sql("counters_13.sql")
_COUNTERS = _sql("counters.sql")
_TIMEOUTS = (
    b"select set_config('statement_timeout', %(statement_timeout)s, false),"
    b" set_config('lock_timeout', %(lock_timeout)s, false)"
)
_VERSION_14 = 140000
_VERSION_16 = 160000


def _timeouts(polling: Polling) -> dict[str, str]:
    """The session's own timeouts in milliseconds, below the poll's deadline.

    A locked catalog may hold up a read of names, never a poll.
    """
    milliseconds = max(8, round(polling.deadline * 1000))
    return {
        "statement_timeout": str(milliseconds * 3 // 4),
        "lock_timeout": str(milliseconds // 8),
    }


class PostgresSource:
    """Reads one server; `poll`, `probe` and `held` may run side by side, two polls may not.

    Args:
        server: where it is, and what to read of it.
        polling: its deadlines and cadences.
        clock: a steady clock in seconds.
    """

    def __init__(
        self, server: Server, polling: Polling, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._polling = polling
        self._clock = clock
        self._session = Session(
            server.name,
            self._login,
            self._greet,
            connect_deadline=polling.connect_deadline,
            clock=clock,
        )
        self._turn = asyncio.Lock()
        self._probe = self._new_probe()
        self._timeouts = polling.deadline
        self._login_begun = 0.0
        self._backend_pid = 0
        self._names = Names()
        self._settings: Row | None = None
        self._parameters: dict[str, float] = {}
        self._counters: SessionCounters | None = None
        self._names_read_at = float("-inf")
        self._blockers: tuple[Blocker, ...] = ()
        self._due = {"settings": 0.0, "names": 0.0, "counters": 0.0, "blockers": 0.0}
        self._failing_reads: set[str] = set()
        self._used_ratio: float | None = None

    async def poll(self, now: float, *, expected_used_ratio: float | None = None) -> Snapshot:
        """One snapshot.

        Args:
            now: Unix seconds of the watcher's clock, for `taken_at`.
            expected_used_ratio: the last known share of the usable slots in use; at 0.90 or more a
                refusal in unknown words counts as `refused`.

        Raises:
            SourceError: why there is none.
        """
        async with self._turn:
            with self._session.surprise.caught():
                return await self._poll(now, expected_used_ratio)

    async def held(self) -> tuple[HeldBackend, ...]:
        """The client backends that have held a transaction for more than a second, oldest first.

        Over the session of the polls, because at exhaustion there is no other, and between them.

        Raises:
            SourceError: there is no session, it has not answered for a while, or it fails now.
        """
        async with self._turn:
            if self._session.is_busy:
                raise SourceError(_BUSY)
            until = self._clock() + min(HELD_SECONDS, self._polling.deadline)
            addresses = {"addresses": self._server.client_addresses}
            with self._session.surprise.caught():
                found = await self._session.fetch(_HELD, addresses, until=until)
                return rows.held(found, self._names)

    async def _poll(self, now: float, expected_used_ratio: float | None) -> Snapshot:
        started = self._clock()
        self._used_ratio = expected_used_ratio
        if await self._session.ready(expected_used_ratio):
            self._due = dict.fromkeys(self._due, started)
        until = self._clock() + self._polling.deadline
        if self._timeouts != self._polling.deadline:
            await self._session.fetch(_TIMEOUTS, _timeouts(self._polling), until=until)
            self._timeouts = self._polling.deadline
        found = await self._session.fetch(_ACTIVITY, self._activity_params(), until=until)
        if rows.own_pid(found) != self._backend_pid:
            # Not before: a pool hands out the same backend again while nobody else wants one.
            await self._session.close()
            raise SourceError(POOLED)
        if not rows.privileged(found):
            raise SourceError(self._unprivileged())
        facts = await self._refresh(found, until)
        activity = rows.activity(found, self._names)
        blockers = await self._refresh_blockers(activity, until)
        seconds = self._clock() - started
        return Snapshot(now, seconds, activity, facts, self._counters, blockers)

    async def probe(self, now: float) -> Probe:
        """What a new client sees that connects directly, with the probe's credentials if given."""
        return await self._probe.look(now, used_ratio=self._used_ratio)

    async def adopt(self, server: Server, polling: Polling) -> None:
        """Go on with another configuration of the same server, over the session that there is."""
        before, self._server = self._server, server
        deadline, self._polling = self._polling.connect_deadline, polling
        self._session.connect_deadline = polling.connect_deadline
        logins = (each.probe.credentials or each for each in (before, server))
        if deadline != polling.connect_deadline or not same_login(*logins):
            await self._probe.close()
            self._probe = self._new_probe()

    def _new_probe(self) -> ConnectProbe:
        credentials = self._server.probe.credentials or self._server
        return ConnectProbe(credentials, "direct", self._polling.connect_deadline)

    async def close(self) -> None:
        """End the session, and a probe that is under way."""
        await self._probe.close()
        await self._session.close()

    async def _login(self) -> dict[str, str]:
        params = await login(self._server)
        self._login_begun = time.monotonic()
        return params

    async def _another(self) -> Connection:
        return await connect(await login(self._server), self._polling.connect_deadline)

    async def _greet(self, connection: Connection) -> None:
        """Refuse a pooler; set what the startup packet could not (poolers refuse `options`)."""
        self._backend_pid = await refuse_pooler(connection, self._login_begun, self._another)
        settings = [
            *(f"SET {name} = {value}" for name, value in _timeouts(self._polling).items()),
            "SET search_path = ''",
            "SET jit = off",
        ]
        if connection.info.server_version >= _VERSION_14:
            settings.append("SET idle_session_timeout = 0")
        await connection.execute("; ".join(settings).encode())
        self._timeouts = self._polling.deadline

    def _activity_params(self) -> dict[str, object]:
        server = self._server
        return {"addresses": server.client_addresses, "stale_after": server.stale_after}

    def _unprivileged(self) -> Failure:
        """The hint is enough for a role without INHERIT too, from 16 on.

        There inheritance belongs to the grant, and what is granted already is changed by it
        (https://www.postgresql.org/docs/16/sql-grant.html); before, it belongs to the role.
        """
        role = self._session.user
        quoted = role.replace('"', '""')
        inherit = " WITH INHERIT TRUE" if self._session.server_version >= _VERSION_16 else ""
        return Failure(
            Reason.UNPRIVILEGED,
            f"role {role} cannot see the sessions of other roles",
            f'GRANT pg_read_all_stats TO "{quoted}"{inherit};',
        )

    async def _refresh(self, found: list[Row], until: float) -> ServerFacts:
        """The slow reads that are due; raises only when the settings have never been read."""
        read = await self._slow("settings", until, _SETTINGS, _PARAMETERS)
        if read is not None:
            self._settings = read[0][0]
            self._parameters = rows.parameters(read[1])
        if self._settings is None:
            raise SourceError(Failure(Reason.LATE, "the server's settings could not be read"))
        await self._refresh_names(found, until)
        version_num = self._settings[1]
        sql = _COUNTERS if version_num >= _VERSION_14 else _COUNTERS_13
        counted = await self._slow("counters", until, sql)
        if counted is not None:
            self._counters = rows.counters(counted[0])
        reserve = Reserve(self._server.provider or "", self._server.provider_reserved)
        role = rows.role(found)
        return rows.facts(self._settings, self._parameters, self._names, reserve, role)

    async def _refresh_names(self, found: list[Row], until: float) -> None:
        now = self._clock()
        if now >= self._names_read_at + EARLY_SECONDS and not self._names.knows(found):
            self._due["names"] = now
        read = await self._slow("names", until, _DATABASES, _ROLES)
        if read is not None:
            self._names = rows.names(*read)
            self._names_read_at = now

    async def _refresh_blockers(self, activity: Activity, until: float) -> tuple[Blocker, ...]:
        """Who keeps others waiting; asked only while somebody waits for a lock."""
        if not any(group.wait_event_type == LOCK for group in activity.groups):
            self._blockers = ()
            return ()
        addresses = {"addresses": self._server.client_addresses}
        read = await self._slow("blockers", until, _BLOCKERS, params=addresses)
        if read is not None:
            self._blockers = rows.blockers(read[0], self._names)
        return self._blockers

    async def _slow(
        self, what: str, until: float, *statements: bytes, params: Params | None = None
    ) -> list[list[Row]] | None:
        """The rows of each statement, None when they are not due or one of them failed."""
        now, polling = self._clock(), self._polling
        if now < self._due[what] or until - now < _LEAST_RATIO * polling.deadline:
            return None
        interval = self._interval(what)
        try:
            read = [await self._session.fetch(sql, params, until=until) for sql in statements]
        except SourceError as error:
            self._due[what] = now + min(interval, EARLY_SECONDS)
            self._note_failing(what, error.failure)
            return None
        self._due[what] = now + interval
        self._failing_reads.discard(what)
        return read

    def _interval(self, what: str) -> float:
        polling = self._polling
        if what == "blockers":
            return min(polling.counters_interval, BLOCKERS_SECONDS)
        return polling.counters_interval if what == "counters" else polling.facts_interval

    def _note_failing(self, what: str, failure: Failure) -> None:
        """Say once that a slow read fails: a lock may stay for an hour."""
        if what not in self._failing_reads:
            self._failing_reads.add(what)
            keys = {"server": self._server.name, "read": what, "reason": failure.reason.value}
            log.warning("slow read failed", extra={**keys, "detail": failure.message})
