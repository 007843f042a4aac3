"""The connect probe: what a new client would see, by being one for a moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from exporter.config.credentials import Credentials
from exporter.snapshot.server import Failure, Probe, Reason
from exporter.sources.connection import Connection, connect, shut_socket
from exporter.sources.credentials import login, secret_parts
from exporter.sources.errors import SourceError, classify
from exporter.sources.reading import Reading

APPLICATION_NAME = "pgheadroom-probe"
#: For as long a login without an answer is waited for; Postgres itself ends one after 60 s
#: (https://www.postgresql.org/docs/current/runtime-config-connection.html, authentication_timeout).
HOLD_SECONDS = 60.0
_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Login:
    """One attempt: when it began on the steady clock, and the secrets that no message may hold."""

    task: asyncio.Task[None]
    secrets: tuple[str, ...]
    opened: list[Connection]
    """The connection, once there is one."""
    started: float = field(default_factory=time.monotonic)


class ConnectProbe:
    """One new connection after the other, each closed at once; never two at a time.

    A login that misses its deadline is waited for by the next probe instead of being repeated. The
    server does not notice that its client has gone while it waits for a lock on a catalog: every
    attempt given up would keep a slot, and the probe would use up what it watches over.

    Args:
        credentials: best those of an ordinary application role: reserved slots are not for them.
        via: "direct", or the pooler that the credentials lead through.
        deadline: seconds until an attempt counts as `late`.
        hold: seconds until a late one is given up.
        statement: asked of the server before the connection is closed. A pooler lets clients in
            without a server connection; only a statement waits for one.
    """

    def __init__(
        self,
        credentials: Credentials,
        via: str,
        deadline: float,
        hold: float = HOLD_SECONDS,
        *,
        statement: bytes | None = None,
    ) -> None:
        self._credentials = credentials
        self._via = via
        self._deadline = deadline
        self._hold = max(deadline, hold)
        self._statement = statement
        self._reading = Reading()
        self._login: _Login | None = None

    async def look(self, now: float, *, used_ratio: float | None = None) -> Probe:
        """What a new client sees.

        Args:
            now: Unix seconds of the watcher's clock.
            used_ratio: as for `exporter.sources.errors.classify`.
        """
        try:
            self._login = attempt = self._login or await self._begin()
        except SourceError as error:
            failure = error.failure
            return Probe(self._via, now, 0.0, failure.reason, failure.message)
        await asyncio.wait({attempt.task}, timeout=self._deadline)
        seconds = time.monotonic() - attempt.started
        failed = _failure(attempt, used_ratio)
        if attempt.task.done() or seconds >= self._hold:
            await self.close()
        if failed is None:
            return Probe(self._via, now, seconds)
        return Probe(self._via, now, seconds, failed.reason, failed.message)

    async def close(self) -> None:
        """Give up the login that is under way."""
        self._reading.cancel()
        attempt, self._login = self._login, None
        if attempt is None or attempt.task.done():
            return
        # A statement that is cancelled is waited for; one whose socket is shut ends at once.
        for connection in attempt.opened:
            shut_socket(connection)
        if not attempt.opened:
            attempt.task.cancel()
        done, _ = await asyncio.wait({attempt.task}, timeout=_END_SECONDS)
        for task in done:
            # Asked for, or asyncio complains of an error that nobody saw.
            _ = task.cancelled() or task.exception()

    async def _begin(self) -> _Login:
        params = await self._reading.params(login(self._credentials, APPLICATION_NAME))
        # Of several hosts a silent one must make way for the next within the deadline.
        several = "," in params.get("host", "")
        seconds = self._deadline if several else self._hold
        opened: list[Connection] = []
        task = asyncio.create_task(_visit(params, seconds, self._statement, opened))
        return _Login(task, secret_parts(params), opened)


async def probe(
    credentials: Credentials,
    via: str,
    deadline: float,
    now: float,
    *,
    used_ratio: float | None = None,
) -> Probe:
    """A single probe; the arguments are those of `ConnectProbe` and its `look`."""
    single = ConnectProbe(credentials, via, deadline)
    try:
        return await single.look(now, used_ratio=used_ratio)
    finally:
        await single.close()


def _failure(attempt: _Login, used_ratio: float | None) -> Failure | None:
    """Why nobody is connected; None after a success."""
    if not attempt.task.done() or attempt.task.cancelled():
        return Failure(Reason.LATE, "no answer in time")
    error = attempt.task.exception()
    if error is None:
        return None
    if isinstance(error, SourceError):
        return error.failure
    return classify(error, used_ratio=used_ratio, secrets=attempt.secrets)


async def _visit(
    params: dict[str, str], deadline: float, statement: bytes | None, opened: list[Connection]
) -> None:
    """Connect, ask, and leave; nothing is prepared, which poolers know in some modes only."""
    connection = await connect(params, deadline, prepared=False)
    opened.append(connection)
    try:
        if statement is not None:
            await connection.execute(statement)
    finally:
        await connection.close()
