"""The connect probe: what a new client would see, by being one for a moment."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import psycopg

from exporter.config.server import Credentials
from exporter.snapshot.server import Failure, Probe, Reason
from exporter.sources.connection import connect
from exporter.sources.credentials import conninfo, secret_parts
from exporter.sources.errors import SourceError, classify

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
    """

    def __init__(
        self, credentials: Credentials, via: str, deadline: float, hold: float = HOLD_SECONDS
    ) -> None:
        self._credentials = credentials
        self._via = via
        self._deadline = deadline
        self._hold = max(deadline, hold)
        self._login: _Login | None = None

    async def look(self, now: float, *, used_ratio: float | None = None) -> Probe:
        """What a new client sees.

        Args:
            now: Unix seconds of the watcher's clock.
            used_ratio: as for `exporter.sources.errors.classify`.
        """
        try:
            self._login = login = self._login or self._begin()
        except SourceError as error:
            failure = error.failure
            return Probe(self._via, now, 0.0, failure.reason, failure.message)
        await asyncio.wait({login.task}, timeout=self._deadline)
        seconds = time.monotonic() - login.started
        if login.task.done() or seconds >= self._hold:
            await self.close()
        failed = _failure(login, used_ratio)
        if failed is None:
            return Probe(self._via, now, seconds)
        return Probe(self._via, now, seconds, failed.reason, failed.message)

    async def close(self) -> None:
        """Give up the login that is under way."""
        login, self._login = self._login, None
        if login is not None and not login.task.done():
            login.task.cancel()
            await asyncio.wait({login.task}, timeout=_END_SECONDS)

    def _begin(self) -> _Login:
        params = conninfo(self._credentials, APPLICATION_NAME)
        # Of several hosts a silent one must make way for the next within the deadline.
        several = "," in params.get("host", "")
        seconds = self._deadline if several else self._hold
        task = asyncio.create_task(_connect_and_close(params, seconds))
        return _Login(task, secret_parts(params))


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


def _failure(login: _Login, used_ratio: float | None) -> Failure | None:
    """Why nobody is connected; None after a success."""
    if not login.task.done() or login.task.cancelled():
        return Failure(Reason.LATE, "no answer in time")
    error = login.task.exception()
    if error is None:
        return None
    if not isinstance(error, psycopg.Error | TimeoutError):
        raise error
    return classify(error, used_ratio=used_ratio, secrets=login.secrets)


async def _connect_and_close(params: dict[str, str], deadline: float) -> None:
    connection = await connect(params, deadline)
    await connection.close()
