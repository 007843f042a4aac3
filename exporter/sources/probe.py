"""The connect probe: what a new client would see, by being one for a moment."""

from __future__ import annotations

import asyncio
import time

import psycopg

from exporter.config.server import Credentials
from exporter.snapshot.server import Failure, Probe
from exporter.sources.connection import connect
from exporter.sources.credentials import conninfo, secret_parts
from exporter.sources.errors import SourceError, classify

APPLICATION_NAME = "pgheadroom-probe"
_END_SECONDS = 1.0


async def probe(
    credentials: Credentials,
    via: str,
    deadline: float,
    now: float,
    *,
    used_ratio: float | None = None,
) -> Probe:
    """One new connection, closed at once.

    Args:
        credentials: best those of an ordinary application role: reserved slots are not for them.
        via: "direct", or the pooler that the credentials lead through.
        deadline: seconds until the attempt counts as `late`.
        now: Unix seconds of the watcher's clock.
        used_ratio: as for `exporter.sources.errors.classify`.
    """
    started = time.monotonic()
    try:
        params = conninfo(credentials, APPLICATION_NAME)
        try:
            await _log_in(params, deadline)
        except (psycopg.Error, TimeoutError) as error:
            failure = classify(error, used_ratio=used_ratio, secrets=secret_parts(params))
            return _failed(via, now, started, failure)
    except SourceError as error:
        return _failed(via, now, started, error.failure)
    return Probe(via, now, time.monotonic() - started)


def _failed(via: str, now: float, started: float, failure: Failure) -> Probe:
    seconds = time.monotonic() - started
    return Probe(via, now, seconds, failure.reason, failure.message)


async def _log_in(params: dict[str, str], deadline: float) -> None:
    """Connect and close, in a task of its own: what bounds it must not depend on its manners."""
    task = asyncio.create_task(_connect_and_close(params, deadline))
    done, _ = await asyncio.wait({task}, timeout=deadline)
    if not done:
        task.cancel()
        await asyncio.wait({task}, timeout=_END_SECONDS)
        raise TimeoutError
    task.result()


async def _connect_and_close(params: dict[str, str], deadline: float) -> None:
    connection = await connect(params, deadline)
    await connection.close()
