"""The pools of a pooler: in use, waiting, paused; and what all of them may ask of the server."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.metrics.caps import OTHER, Cap
from exporter.metrics.families import Builder
from exporter.metrics.pool_view import Client, PoolerView
from exporter.metrics.view import View
from exporter.snapshot.pool import ClientGroup, Pool, PoolKey, PoolUse, total

OTHER_POOL: PoolKey = (OTHER, OTHER)
OTHER_CLIENT: Client = (OTHER, OTHER, OTHER)


def add_pools(builder: Builder, view: PoolerView) -> None:
    """Add what each pool uses, and who waits in it; beyond the cap pools are put together."""
    uses = {use.pool.key: use for use in view.snapshot.pool_use()}
    for (database, user), pools in _named(view).items():
        found = [uses[pool.key] for pool in pools if pool.key in uses]
        _add_use(builder, found, database, user)
        _add_waiting(builder, pools, database, user)


def _named(view: PoolerView) -> dict[PoolKey, list[Pool]]:
    pools = view.snapshot.pools
    weights = {pool.key: (pool.cl_waiting or 0) + (pool.used or 0) for pool in pools}
    named = view.caps.pools.named(weights, view.now)
    found: dict[PoolKey, list[Pool]] = {}
    for pool in pools:
        found.setdefault(pool.key if pool.key in named else OTHER_POOL, []).append(pool)
    return found


def _add_use(builder: Builder, uses: list[PoolUse], database: str, user: str) -> None:
    if not uses:
        return
    labels = {"database": database, "user": user}
    builder.gauge(
        "pgheadroom_pool_connections_used",
        "Server connections of the pool that no other client can have now.",
        sum(use.used for use in uses),
        **labels,
    )
    builder.gauge(
        "pgheadroom_pool_connections_max",
        "Server connections that the pool may open: its size and its reserve.",
        sum(use.limit for use in uses),
        **labels,
    )
    builder.gauge(
        "pgheadroom_pool_used_ratio",
        "Server connections in use over the pool's size and reserve.",
        max(use.ratio for use in uses),
        **labels,
    )


def _add_waiting(builder: Builder, pools: list[Pool], database: str, user: str) -> None:
    labels = {"database": database, "user": user}
    waits = [pool.wait_seconds for pool in pools if pool.wait_seconds is not None]
    builder.gauge(
        "pgheadroom_pool_clients_waiting",
        "Clients that wait for a server connection of the pool.",
        total(pool.cl_waiting for pool in pools),
        **labels,
    )
    builder.gauge(
        "pgheadroom_pool_wait_seconds",
        "How long the client that waits the longest has waited by now; 0 where none does.",
        max(waits, default=None),
        **labels,
    )


def add_waits(builder: Builder, view: PoolerView) -> None:
    """Add what waiting came to, and the databases that are held up."""
    for database, seconds in view.state.waits.items():
        builder.gauge(
            "pgheadroom_pool_wait_per_transaction_seconds",
            "What a client waited for a server connection each time, over the last minute.",
            seconds,
            database=database,
        )
    for database, paused in view.snapshot.paused().items():
        builder.gauge(
            "pgheadroom_pool_paused",
            "1 while a PAUSE or SUSPEND holds up the clients of the database.",
            float(paused),
            database=database,
        )


def add_clients(builder: Builder, view: PoolerView) -> None:
    """Add the clients by application, where the configuration asks for them."""
    groups = view.snapshot.clients
    if groups is None or not view.state.exports_clients:
        return
    counts = capped_clients(groups, view.caps.clients, view.now)
    for (database, user, application, state), clients in counts.items():
        builder.gauge(
            "pgheadroom_pool_clients",
            "Clients by database, user, application and state; on with clients: true.",
            clients,
            database=database,
            user=user,
            application_name=application,
            state=state,
        )


def capped_clients(
    groups: Iterable[ClientGroup], cap: Cap[Client], now: float
) -> dict[tuple[str, str, str, str], int]:
    """Clients by database, user, application and state; those beyond the cap together."""
    groups = tuple(groups)
    counts: dict[Client, int] = {}
    for each in groups:
        key = each.database, each.user, each.application_name
        counts[key] = counts.get(key, 0) + each.clients
    named = cap.named(counts, now)
    found: dict[tuple[str, str, str, str], int] = {}
    for each in groups:
        key = each.database, each.user, each.application_name
        line = (*(key if key in named else OTHER_CLIENT), each.state)
        found[line] = found.get(line, 0) + each.clients
    return found


def add_pool_capacity(builder: Builder, view: View) -> None:
    """Add what the poolers in front of the server may ask of it."""
    capacity = view.state.pool_capacity
    if capacity is None:
        return
    builder.gauge(
        "pgheadroom_pool_capacity",
        "Connections that all poolers of the server may open.",
        capacity,
    )
    builder.gauge(
        "pgheadroom_pool_capacity_ratio",
        "Connections that all poolers of the server may open, over its usable slots.",
        capacity / view.snapshot.facts.limits.usable,
    )
