"""What the settings of a Postgres server say about its connections, and what to set instead."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.alerting.notification import Severity
from exporter.doctor.advice import PGBOUNCER, POSTGRES, Advice
from exporter.doctor.sizing import RESERVED_PAGE
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Reason, ServerFacts, ServerState

#: pg_use_reserved_connections and its slots came with 16.
_VERSION_16 = 160000
_RESERVED_SLOTS = 3
_IDLE_TIMEOUT = "idle_in_transaction_session_timeout"
_CLIENT_PAGE = f"{POSTGRES}runtime-config-client.html#GUC-"
_STATISTICS_PAGE = f"{POSTGRES}runtime-config-statistics.html#GUC-"
_PRIVILEGE_PAGE = f"{POSTGRES}predefined-roles.html"
#: A poll's CPU as measured on 16 with 1,000 backends: 2.5 µs for each, and 4.6 ms for each MB of
#: query texts, which are copied whether they are read or not (docs/performance.md).
_MS_PER_BACKEND, _MS_PER_MB = 0.0025, 4.6
_DEAR_MS = 10.0


def server_advice(
    state: ServerState, poolers: Sequence[PoolerState], tls: str | None
) -> tuple[Advice, ...]:
    """What is wrong with a server, or with what stands in front of it.

    Args:
        state: what one look saw.
        poolers: those that stand in front of it, as one look saw them.
        tls: what `tls_warning` says of its DSN.
    """
    made = [_privilege(state), weak_tls(tls)]
    if state.snapshot is not None:
        facts = state.snapshot.facts
        made += [
            _oversubscribed(facts, poolers),
            _no_reserve(facts),
            _no_idle_timeout(facts),
            _dear_polls(facts),
            _blind(facts),
        ]
    return tuple(advice for advice in made if advice is not None)


def weak_tls(warning: str | None) -> Advice | None:
    """What `tls_warning` says of a DSN, as advice."""
    if warning is None:
        return None
    found, _, remedy = warning.partition("; ")
    page = f"{POSTGRES}libpq-ssl.html#LIBPQ-SSL-PROTECTION"
    return Advice("weak_sslmode", Severity.WARNING, found, remedy, page)


def _privilege(state: ServerState) -> Advice | None:
    failure = state.failure
    if failure is None or failure.reason is not Reason.UNPRIVILEGED:
        return None
    return Advice(
        "missing_privilege", Severity.CRITICAL, failure.message, failure.hint, _PRIVILEGE_PAGE
    )


def _oversubscribed(facts: ServerFacts, poolers: Sequence[PoolerState]) -> Advice | None:
    """Σ of what the poolers may open, against the usable slots."""
    known = [each for each in poolers if each.capacity is not None]
    total, usable = sum(each.capacity or 0 for each in known), facts.limits.usable
    if total <= usable:
        return None
    terms = " + ".join(f"{each.pooler} {each.capacity}" for each in known)
    together = f"{terms} = {total}" if len(known) > 1 else terms
    share = usable // len(known)
    pools = max(1, *(_pools(each) for each in known))
    remedy = f"max_db_connections = {share} in each pooler"
    if share // pools:
        parts = [f"{usable} usable", f"{len(known)} poolers", f"{pools} pools in the largest"]
        division = " ÷ ".join(part for part in parts if not part.startswith("1 "))
        remedy = (
            f"default_pool_size with reserve_pool_size = ⌊{division}⌋ = {share // pools},"
            f" or {remedy}"
        )
    return Advice(
        "pools_oversubscribed",
        Severity.WARNING,
        f"the pools may open {together} connections, for {usable} usable slots"
        f" ({facts.limits.max_connections} − {facts.limits.reserved} reserved)",
        remedy,
        f"{PGBOUNCER}#default_pool_size",
    )


def _pools(state: PoolerState) -> int:
    """Pools of a pooler: each (database, user) that had a client, and each unused database."""
    snapshot = state.snapshot
    if snapshot is None:
        return 1
    used = {pool.database for pool in snapshot.pools}
    unused = sum(1 for each in snapshot.databases if each.name not in used)
    return len(snapshot.pools) + unused


def _no_reserve(facts: ServerFacts) -> Advice | None:
    limits = facts.limits
    if facts.version_num >= _VERSION_16 and not limits.reserved_connections:
        return Advice(
            "no_reserved_connections",
            Severity.WARNING,
            "reserved_connections = 0: with every slot taken nobody but a superuser can log in,"
            " not to look, nor to end sessions",
            f"reserved_connections = {_RESERVED_SLOTS} (restart), and GRANT"
            " pg_use_reserved_connections TO operators and to pgheadroom",
            f"{POSTGRES}runtime-config-connection.html#GUC-RESERVED-CONNECTIONS",
        )
    if not limits.superuser_reserved_connections:
        return Advice(
            "no_superuser_slots",
            Severity.CRITICAL,
            "superuser_reserved_connections = 0: with every slot taken nobody can log in",
            "superuser_reserved_connections = 3 (restart)",
            RESERVED_PAGE,
        )
    return None


def _no_idle_timeout(facts: ServerFacts) -> Advice | None:
    if facts.settings.get(f"{_IDLE_TIMEOUT}_seconds", 0.0) > 0:
        return None
    return Advice(
        "no_idle_in_transaction_timeout",
        Severity.WARNING,
        f"{_IDLE_TIMEOUT} = 0: a function that is frozen in a transaction keeps its slot and its"
        " locks for ever",
        f"ALTER SYSTEM SET {_IDLE_TIMEOUT} = '1min'; SELECT pg_reload_conf();",
        f"{_CLIENT_PAGE}IDLE-IN-TRANSACTION-SESSION-TIMEOUT",
    )


def _dear_polls(facts: ServerFacts) -> Advice | None:
    size = facts.settings.get("track_activity_query_size_bytes", 0.0)
    most = facts.limits.max_connections
    megabytes = most * size / 1e6
    cost = most * _MS_PER_BACKEND + megabytes * _MS_PER_MB
    if cost <= _DEAR_MS or size <= 1024:  # noqa: PLR2004  the default, in bytes
        return None
    return Advice(
        "dear_polls",
        Severity.WARNING,
        f"track_activity_query_size = {size:.0f}: a poll copies up to {most} × {size:.0f} bytes"
        f" = {megabytes:.1f} MB, about {cost:.0f} ms of CPU; so does everybody else's",
        "track_activity_query_size = 1024 (restart)",
        f"{_STATISTICS_PAGE}TRACK-ACTIVITY-QUERY-SIZE",
    )


def _blind(facts: ServerFacts) -> Advice | None:
    if facts.track_activities:
        return None
    return Advice(
        "track_activities_off",
        Severity.WARNING,
        "track_activities is off: slots are counted, but idle transactions and waits are not seen",
        "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
        f"{_STATISTICS_PAGE}TRACK-ACTIVITIES",
    )
