"""One kept connection, and deadlines that hold on a frozen server.

psycopg's own timeouts do not: `asyncio.wait_for` around a statement returns many seconds late, or
never (pg-facts H). Here a statement runs in a task of its own. A missed deadline leaves it running,
because a session given up at exhaustion is a slot that nobody gets back; only after
`MISSES` in a row and `GIVE_UP_SECONDS` is its socket shut down, which ends the task at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

import psycopg

from exporter.snapshot.server import Failure, Reason
from exporter.sources.connection import Connection, Row, connect, shut_socket
from exporter.sources.credentials import secret_parts
from exporter.sources.errors import SourceError, classify
from exporter.sources.reading import CLOSED, Reading
from exporter.sources.surprise import Surprise

log = logging.getLogger(__name__)

T = TypeVar("T")
Params = Mapping[str, object]
Record = Mapping[str, bytes | None]
"""One row by the names of its columns, values as the server wrote them."""
Greet = Callable[[Connection], Awaitable[None]]

#: Missed deadlines in a row, and seconds since the first of them, before the session is shut.
MISSES = 3
GIVE_UP_SECONDS = 10.0
#: Full jitter: a wait is uniform between 0 and a bound that doubles from the first to the second.
BACKOFF_FIRST_SECONDS = 1.0
BACKOFF_LONGEST_SECONDS = 10.0
#: How long a task may take to end after its socket was shut; it was measured below 1 ms.
_END_SECONDS = 1.0

_LATE = Failure(Reason.LATE, "the server did not answer in time")


class Session:
    """A connection that is made when needed and then kept.

    Never more than one statement and one login attempt are under way; a login that timed out still
    holds its slot on the server.

    Args:
        name: of the server or pooler, for logs.
        params: gives the libpq parameters for each new connection.
        greet: what to do with a connection before it is used; may raise `SourceError`.
        connect_deadline: seconds for a login and the greeting.
        prepared: whether statements are prepared; a pooler's console cannot.
        give_up_seconds: see `GIVE_UP_SECONDS`.
        clock: a steady clock in seconds.
    """

    def __init__(  # noqa: PLR0913  what differs between servers, poolers and tests
        self,
        name: str,
        params: Callable[[], Awaitable[dict[str, str]]],
        greet: Greet,
        *,
        connect_deadline: float,
        prepared: bool = True,
        give_up_seconds: float = GIVE_UP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._params = params
        self._greet = greet
        self.connect_deadline = connect_deadline
        self._prepared = prepared
        self._give_up_seconds = give_up_seconds
        self._clock = clock
        self._secrets: tuple[str, ...] = ()
        self._connection: Connection | None = None
        self._statement: asyncio.Task[Any] | None = None
        self._misses = 0
        self._missed_since = 0.0
        self._opening: Connection | None = None
        self._reading = Reading()
        self._login: asyncio.Task[Connection] | None = None
        self._attempts = 0
        self._retry_at = -math.inf
        self._refusal = _LATE
        self.surprise = Surprise(name)
        """For those who read what the session fetched."""

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that is not known to have ended."""
        return self._connection is not None and not self._connection.closed

    @property
    def is_busy(self) -> bool:
        """Whether a statement is under way, because it has missed its deadline."""
        return self._statement is not None

    @property
    def user(self) -> str:
        """The role of the connection, "" where there is none."""
        if self._connection is None:
            return ""
        return self._connection.pgconn.user.decode("utf-8", "backslashreplace")

    @property
    def server_version(self) -> int:
        """The server's version as in `server_version_num`, 0 where there is no connection."""
        return 0 if self._connection is None else self._connection.info.server_version

    async def ready(self, used_ratio: float | None = None) -> bool:
        """Connect where there is no connection; True when a new one was made.

        After a failed attempt the next is made after a random wait of up to 10 s; until then the
        same failure is raised again.

        Args:
            used_ratio: as for `exporter.sources.errors.classify`.

        Raises:
            SourceError: there is no connection.
        """
        if self.is_open or self.is_busy:
            return False
        self._connection = None
        if self._login is None and self._clock() < self._retry_at:
            raise SourceError(self._refusal)
        try:
            self._connection = await self._connect()
        except (psycopg.Error, TimeoutError) as error:
            failure = classify(error, used_ratio=used_ratio, secrets=self._secrets)
            self._back_off(failure)
            raise SourceError(failure) from error
        except SourceError as error:
            self._back_off(error.failure)
            raise
        except Exception as error:
            failure = self.surprise.failure(error)
            self._back_off(failure)
            raise SourceError(failure) from error
        self._attempts = self._misses = 0
        return True

    async def fetch(self, sql: bytes, params: Params | None = None, *, until: float) -> list[Row]:
        """The rows of one statement.

        Args:
            sql: with psycopg's placeholders; bytes, because the session has no encoding.
            params: their values.
            until: the deadline, in seconds of the session's clock. An earlier statement that is
                still under way is waited for first.

        Raises:
            SourceError: the deadline was missed, the statement failed, or the session has ended.
        """
        return await self._run(lambda connection: self._rows(connection, sql, params), until)

    async def records(
        self, command: bytes, columns: Collection[str], *, until: float
    ) -> list[Record]:
        """The rows of one command by the names of their columns, in the simple protocol.

        Args:
            command: without parameters; a pooler's console takes none.
            columns: those of interest; others are left out, and what is not there is absent.
            until: as for `fetch`.

        Raises:
            SourceError: as `fetch`.
        """
        return await self._run(lambda connection: _records(connection, command, columns), until)

    async def close(self) -> None:
        """End the session, and whatever is under way, at once."""
        connection, statement, login = self._connection, self._statement, self._login
        # Before the first wait: who polls meanwhile must begin nothing more on this connection.
        self._connection = self._statement = self._login = None
        for each in (connection, self._opening):
            if each is not None and (statement or login):
                shut_socket(each)
        self._reading.cancel()
        if login is not None:
            login.cancel()
        await _settle(statement, login)
        if login is not None:
            await _discard(login)
        if connection is not None:
            await _leave(connection, statement)

    async def _run(
        self, read: Callable[[Connection], Coroutine[Any, Any, list[T]]], until: float
    ) -> list[T]:
        await self._drain(until)
        connection = self._connection
        if connection is None or connection.closed:
            raise SourceError(CLOSED)
        task = self._statement = asyncio.create_task(read(connection))
        return await self._outcome(task, until)

    async def _drain(self, until: float) -> None:
        """Wait for the statement that missed its deadline; its rows are too old to be of use."""
        if self._statement is None:
            return
        try:
            await self._outcome(self._statement, until)
        except SourceError:
            # A statement that the server cancelled (statement_timeout) leaves the session usable.
            if self.is_busy or not self.is_open:
                raise

    async def _rows(self, connection: Connection, sql: bytes, params: Params | None) -> list[Row]:
        cursor = await connection.execute(sql, params, prepare=self._prepared)
        return await cursor.fetchall()

    async def _outcome(self, task: asyncio.Task[list[T]], until: float) -> list[T]:
        started = self._clock()
        done, _ = await asyncio.wait({task}, timeout=max(0.0, until - started))
        if not done:
            await self._missed(started)
            raise SourceError(_LATE)
        self._statement = None
        self._misses = 0
        try:
            return task.result()
        except psycopg.Error as error:
            raise SourceError(classify(error, secrets=self._secrets)) from error

    async def _missed(self, since: float) -> None:
        if self._misses == 0:
            self._missed_since = since
        self._misses += 1
        silent = self._clock() - self._missed_since
        if self._misses >= MISSES and silent >= self._give_up_seconds:
            keys = {"server": self._name, "misses": self._misses, "seconds": round(silent, 1)}
            log.warning("session given up", extra=keys)
            await self.close()

    async def _connect(self) -> Connection:
        """A new connection within the deadline; an attempt that outlived its own is waited for."""
        if self._login is None:
            params = await self._reading.params(self._params())
            self._secrets = secret_parts(params)
            self._login = asyncio.create_task(self._open(params))
        task = self._login
        done, _ = await asyncio.wait({task}, timeout=self.connect_deadline)
        if self._login is not task:
            raise SourceError(CLOSED)
        if not done:
            # Before the login there is only the task to cancel; after it, the socket to shut.
            if self._opening is None:
                task.cancel()
            else:
                shut_socket(self._opening)
            await _settle(task)
        if not task.done():
            raise TimeoutError
        self._login = None
        if task.cancelled() or not done:
            await _discard(task)
            raise TimeoutError
        return task.result()

    async def _open(self, params: dict[str, str]) -> Connection:
        connection = await connect(params, self.connect_deadline, prepared=self._prepared)
        self._opening = connection
        try:
            await self._greet(connection)
        except BaseException:
            # Also when cancelled: a connection that nobody knows of would keep its slot.
            await connection.close()
            raise
        finally:
            self._opening = None
        return connection

    def _back_off(self, failure: Failure) -> None:
        if failure.reason is not self._refusal.reason:
            # Another answer than before is news: the server is back, if not yet with a slot for us.
            self._attempts = 0
        self._refusal = failure
        bound = min(BACKOFF_LONGEST_SECONDS, BACKOFF_FIRST_SECONDS * 2.0**self._attempts)
        self._attempts = min(self._attempts + 1, 10)
        self._retry_at = self._clock() + random.uniform(0, bound)  # noqa: S311  jitter


async def _records(
    connection: Connection, command: bytes, columns: Collection[str]
) -> list[Record]:
    """Bytes, whatever the encoding: names in a pooler may be in any."""
    cursor = await connection.execute(command)
    result = cursor.pgresult
    if result is None:
        return []
    names = ((at, _text(result.fname(at))) for at in range(result.nfields))
    places = [(at, name) for at, name in names if name in columns]
    return [
        {name: result.get_value(row, at) for at, name in places} for row in range(result.ntuples)
    ]


def _text(name: bytes | None) -> str:
    return "" if name is None else name.decode("utf-8", "backslashreplace")


async def _settle(*tasks: asyncio.Task[Any] | None) -> None:
    """Give tasks whose socket was shut, or that were cancelled, the moment they need to end."""
    given = {task for task in tasks if task is not None}
    if given:
        done, _ = await asyncio.wait(given, timeout=_END_SECONDS)
        for task in done:
            # Asked for, or asyncio complains of an error that nobody saw.
            _ = task.cancelled() or task.exception()


async def _leave(connection: Connection, statement: asyncio.Task[Any] | None) -> None:
    """Close `connection`, once no statement runs on it.

    libpq frees what psycopg still waits upon: the process would crash or hang.
    """
    if statement is None or statement.done():
        await connection.close()
        return
    statement.add_done_callback(lambda _: connection.pgconn.finish())


async def _discard(task: asyncio.Task[Connection]) -> None:
    """Close the connection that a task came up with after nobody wanted it any more."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return
    await task.result().close()
