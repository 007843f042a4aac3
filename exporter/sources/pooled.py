"""Does the DSN lead through a pooler? Only evidence that a plain proxy cannot give counts.

A proxy (Neon's, for one) makes up the process id of its BackendKeyData, as poolers do, but gives
each client one backend of its own, made for it. A pooler keeps backends and hands them around. So a
differing id is a reason to look closer, never an answer: what tells is a backend that is older than
our connection, or another one from statement to statement. A pooler in session mode that made a
backend for us alone is not told from a proxy, and does no harm: the backend is ours until we leave.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg

from exporter.snapshot.server import Failure, Reason
from exporter.sources.connection import Connection
from exporter.sources.errors import SourceError

POOLED = Failure(
    Reason.POOLED,
    "the DSN leads through a pooler",
    "give the address of Postgres itself: a saturated pooler would make polls wait",
)
CONSOLE = Failure(
    Reason.POOLED,
    "the DSN leads to PgBouncer's console",
    "list it under poolers; a server's DSN leads to Postgres itself",
)
#: What PgBouncer says of itself when a session begins: 1.26 and later by the first two, any version
#: in the version that its console has.
_OWN_PARAMETERS = (b"pgbouncer.version", b"pgbouncer.pool_mode")
_CONSOLE = b"/bouncer"
#: Servers and proxies may take this long from our first byte to the backend's start.
_TOLERANCE_SECONDS = 1.0
#: Within one pool the next statement may well meet the same backend again.
_ASKED = 3
#: A second client is not waited for as we are.
_SECOND_SECONDS = 2.0
_BACKEND = b"""select pg_catalog.pg_backend_pid(),
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()
           operator(pg_catalog.-) backend_start)
  from pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())"""


async def refuse_pooler(
    connection: Connection, begun: float, another: Callable[[], Awaitable[Connection]]
) -> int:
    """The process id of the backend that answers, if nothing says that a pooler does.

    Args:
        connection: a new one.
        begun: when it was begun, by `time.monotonic`.
        another: makes a second one like it; called only where the process id is made up.

    Raises:
        SourceError: a pooler answers.
    """
    status = connection.pgconn.parameter_status
    if _CONSOLE in (status(b"server_version") or b""):
        raise SourceError(CONSOLE)
    if any(status(name) is not None for name in _OWN_PARAMETERS):
        raise SourceError(POOLED)
    pid, age = await _backend(connection)
    if pid == connection.info.backend_pid:
        return pid
    ours = time.monotonic() - begun
    if age > ours + _TOLERANCE_SECONDS:
        raise SourceError(POOLED)
    for _ in range(_ASKED):
        again, _age = await _backend(connection)
        if again != pid:
            raise SourceError(POOLED)
    if await _second_pid(another) == pid:
        raise SourceError(POOLED)
    return pid


async def _second_pid(another: Callable[[], Awaitable[Connection]]) -> int | None:
    """The process that answers a second client; None where there can be none."""
    try:
        async with asyncio.timeout(_SECOND_SECONDS):
            connection = await another()
            try:
                pid, _age = await _backend(connection)
            finally:
                await connection.close()
    except (psycopg.Error, SourceError, TimeoutError):
        # Refused, as on a full server: no evidence either way.
        return None
    return pid


async def _backend(connection: Connection) -> tuple[int, float]:
    """The process that answers, and for how many seconds it has existed, by the server's clock."""
    answer = await connection.execute(_BACKEND)
    row = await answer.fetchone()
    return (0, 0.0) if row is None else (row[0], row[1])
