"""One look at a server or a pooler, for the commands that look once and end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace

from exporter.config.credentials import Credentials
from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Polling, Server
from exporter.poll import Front, look_behind
from exporter.snapshot.attribution import Attributed
from exporter.snapshot.failing import explained
from exporter.snapshot.pooler import PoolerState, observed
from exporter.snapshot.server import Failure, Reason, ServerState
from exporter.sources.credentials import addresses
from exporter.sources.errors import SourceError
from exporter.sources.pgbouncer import PgbouncerSource
from exporter.sources.postgres import PostgresSource

#: What is waited for beyond a poll's own deadlines.
_GRACE_SECONDS = 2.0
_LATE = Failure(Reason.LATE, "no answer in time")


async def look_at_all(
    config: Config, *, behind: bool = False
) -> tuple[tuple[ServerState, ...], tuple[PoolerState, ...]]:
    """Every server and pooler side by side, and what the poolers may ask of each server.

    With `behind` also who is really behind backends that a pooler holds in a transaction.
    """
    tasks = [(each, asyncio.create_task(look_at_pooler(config, each))) for each in config.poolers]
    servers = await asyncio.gather(
        *(
            look_at_server(config, each, [t for p, t in tasks if behind and p.server == each.name])
            for each in config.servers
        )
    )
    poolers = tuple([await task for _, task in tasks])
    return tuple(_with_capacity(each, poolers) for each in servers), poolers


def _with_capacity(state: ServerState, poolers: Iterable[PoolerState]) -> ServerState:
    found = [e.capacity for e in poolers if e.server == state.server and e.capacity is not None]
    return replace(state, pool_capacity=sum(found) if found else None)


async def look_at_server(
    config: Config, server: Server, fronts: Sequence[Awaitable[PoolerState]] = ()
) -> ServerState:
    """What one poll sees, and what a new client sees where the probe is on.

    `fronts` are looks at poolers, which are then asked whom they serve.
    """
    source = PostgresSource(server, config.polling_of(server))
    state = ServerState(server.name, thresholds=config.thresholds_of(server))
    try:
        async with asyncio.timeout(_deadline(config.polling_of(server), server)):
            snapshot = await source.poll(time.time(), expected_used_ratio=None)
            state = replace(state, snapshot=snapshot)
    except SourceError as error:
        state = replace(state, failure=explained(error.failure, ""), failing_since=time.time())
    except TimeoutError:
        state = replace(state, failure=explained(_LATE, ""), failing_since=time.time())
    if state.up and fronts:
        state = replace(
            state, attributed=await _behind(config, server, source, [await each for each in fronts])
        )
    if server.probe.enabled:
        state = replace(state, probes={"direct": await source.probe(time.time())})
    await source.close()
    return state


async def look_at_pooler(config: Config, pooler: Pooler) -> PoolerState:
    """The same for a pooler."""
    source = _console(config, pooler)
    state = PoolerState(
        pooler.server or pooler.name, pooler.name, thresholds=config.pooler_thresholds_of(pooler)
    )
    try:
        async with asyncio.timeout(_deadline(config.polling_of(pooler), pooler)):
            snapshot = await source.poll(time.time())
            fronts = pooler.server is not None
            where = server_addresses(config, pooler) if fronts else None
            state = observed(state, snapshot, where)
    except SourceError as error:
        state = replace(state, failure=explained(error.failure, ""), failing_since=time.time())
    except TimeoutError:
        state = replace(state, failure=explained(_LATE, ""), failing_since=time.time())
    if pooler.probe.enabled and pooler.probe.credentials is not None:
        state = replace(state, probes={pooler.name: await source.probe(time.time())})
    await source.close()
    return state


async def _behind(
    config: Config, server: Server, source: PostgresSource, seen: Sequence[PoolerState]
) -> Attributed | None:
    """One round; None where the server says nothing, or there was nobody to ask for."""
    entries = {each.name: each for each in config.poolers}
    where = addresses(server.dsn.get_secret_value())
    fronts = [
        Front(each.pooler, _console(config, entries[each.pooler]), each.snapshot, where)
        for each in seen
        if each.snapshot is not None
    ]
    try:
        found = await look_behind(source, fronts, time.time())
    except SourceError:
        return None
    return found if found is None or server.client_addresses else found.without_addresses()


def _console(config: Config, pooler: Pooler) -> PgbouncerSource:
    return PgbouncerSource(pooler, config.polling_of(pooler))


def server_addresses(config: Config, pooler: Pooler) -> tuple[str, ...]:
    """HOST:PORT of the server that `pooler` stands in front of; empty where it names none."""
    fronted = (each for each in config.servers if each.name == pooler.server)
    return tuple(where for each in fronted for where in addresses(each.dsn.get_secret_value()))


def _deadline(polling: Polling, credentials: Credentials) -> float:
    """For making a password, logging in and polling."""
    reading = credentials.password_seconds
    return reading + polling.connect_deadline + polling.deadline + _GRACE_SECONDS
