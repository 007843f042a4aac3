"""One look at every server and pooler, and everything that is to be said of their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exporter.alerting.notification import Severity
from exporter.alerting.words import arithmetic, failure_words
from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Server
from exporter.doctor.advice import Advice
from exporter.doctor.poolers import pooler_advice
from exporter.doctor.servers import server_advice
from exporter.doctor.sizing import Figure, Workload, client_advice, figures, sizing_advice
from exporter.look import look_at_all
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Reason, ServerState
from exporter.sources.credentials import describe, tls_warning

#: The exit codes of `pgheadroom check`.
OK, WARNING, CRITICAL, UNKNOWN = range(4)


@dataclass(frozen=True, slots=True)
class Examined:
    """A server or pooler. `code` is 0 ok, 1 warning, 2 critical, 3 could not be seen."""

    server: str
    """Its name; of a pooler, the server that it stands in front of, or its own name."""
    pooler: str
    """Its name, "" for a server."""
    tried: str
    """Where it was looked for: role@host:port/database."""
    arithmetic: str
    failure: str
    advice: tuple[Advice, ...]
    figures: tuple[Figure, ...]
    code: int

    @property
    def name(self) -> str:
        """What it is called."""
        return self.pooler or self.server

    def to_dict(self) -> Mapping[str, Any]:
        """For JSON."""
        return asdict(self)


async def examine(config: Config, work: Workload | None = None) -> tuple[Examined, ...]:
    """Every server and pooler, and `work` in front of each server where it is given.

    `replicas` of `work` that is 0 stands for the poolers that the configuration names.
    """
    servers, poolers = await look_at_all(config)
    by_name = {each.server: each for each in servers}
    examined = [
        _server(entry, by_name[entry.name], _of(poolers, entry.name), work)
        for entry in config.servers
    ]
    looked = zip(config.poolers, poolers, strict=True)
    return *examined, *(_pooler(entry, state, by_name.get(state.server)) for entry, state in looked)


def worst(examined: Sequence[Examined]) -> int:
    """The exit code: critical over unknown over warning over ok."""
    order = (CRITICAL, UNKNOWN, WARNING, OK)
    return min((each.code for each in examined), key=order.index, default=OK)


def _of(poolers: Sequence[PoolerState], server: str) -> tuple[PoolerState, ...]:
    return tuple(each for each in poolers if each.server == server)


def _server(
    entry: Server, state: ServerState, poolers: Sequence[PoolerState], work: Workload | None
) -> Examined:
    dsn = entry.dsn.get_secret_value()
    found = server_advice(state, poolers, tls_warning(dsn))
    sizes: tuple[Figure, ...] = ()
    slots = ""
    if state.snapshot is not None:
        limits, used = state.snapshot.facts.limits, state.snapshot.used
        slots = arithmetic(used, limits.usable, limits.max_connections, limits.reserved)
        if work is not None:
            work = work.behind(len(poolers))
            asked = client_advice(work, _max_client_conn(poolers))
            found += sizing_advice(limits, work) + ((asked,) if asked else ())
            sizes = figures(limits, work)
    return Examined(
        entry.name,
        "",
        describe(dsn),
        slots,
        failure_words(state.failure),
        _sorted(found),
        sizes,
        _code(state, found),
    )


def _pooler(entry: Pooler, state: PoolerState, server: ServerState | None) -> Examined:
    dsn = entry.dsn.get_secret_value()
    found = pooler_advice(state, server, tls_warning(dsn))
    return Examined(
        state.server,
        entry.name,
        describe(dsn),
        _pooler_words(state),
        failure_words(state.failure),
        _sorted(found),
        (),
        _code(state, found),
    )


def _max_client_conn(poolers: Sequence[PoolerState]) -> int | None:
    """What all of them let in; None where one of them was not seen."""
    seen = [each.snapshot.facts.max_client_conn for each in poolers if each.snapshot is not None]
    known = [most for most in seen if most]
    return sum(known) if len(known) == len(poolers) else None


def _pooler_words(state: PoolerState) -> str:
    if state.snapshot is None:
        return ""
    facts = state.snapshot.facts
    parts = [f"PgBouncer {facts.version}"]
    if state.capacity is not None:
        parts.append(f"may open {state.capacity} server connections")
    if facts.max_client_conn:
        parts.append(f"lets {facts.max_client_conn} clients in")
    return ", ".join(parts)


def _sorted(found: Sequence[Advice]) -> tuple[Advice, ...]:
    return tuple(sorted(found, key=lambda each: -each.severity.rank))


def _code(state: ServerState | PoolerState, found: Sequence[Advice]) -> int:
    severities = {each.severity for each in found}
    refused = state.failure is not None and state.failure.reason is Reason.REFUSED
    if Severity.CRITICAL in severities or refused:
        return CRITICAL
    if not state.up:
        return UNKNOWN
    return WARNING if Severity.WARNING in severities else OK
