"""All series of one pooler."""

from __future__ import annotations

from exporter.metrics.families import Builder, Families
from exporter.metrics.pool_view import PoolerCaps, PoolerSignal, PoolerView
from exporter.metrics.pools import add_clients, add_pools, add_waits
from exporter.metrics.watcher import add_watcher, aged_families
from exporter.snapshot.pooler import PoolerState


def add_limits(builder: Builder, view: PoolerView) -> None:
    """Add the clients of the whole process, and the limits of its databases and users."""
    clients = view.snapshot.client_use()
    if clients is not None:
        builder.gauge("pgheadroom_pooler_clients_used", "Clients, the console's too.", clients.used)
        builder.gauge("pgheadroom_pooler_clients_max", "max_client_conn.", clients.most)
        builder.gauge(
            "pgheadroom_pooler_clients_used_ratio",
            "Clients over max_client_conn; at 1 applications are refused.",
            clients.ratio,
        )
    for use in view.snapshot.limit_use():
        of_database = use.limit.startswith("database")
        builder.gauge(
            "pgheadroom_pooler_limit_used_ratio",
            "What is used of a limit of a database or a user, where one is set.",
            use.ratio,
            limit=use.limit,
            database=use.name if of_database else "",
            user="" if of_database else use.name,
        )


def add_info(builder: Builder, view: PoolerView) -> None:
    """Add the version, and whether something makes the numbers less than they seem."""
    builder.gauge(
        "pgheadroom_pooler_info",
        "Always 1; the label says what the pooler is.",
        1,
        version=view.snapshot.facts.version,
    )
    builder.gauge(
        "pgheadroom_pooler_warnings",
        "Reasons to doubt the numbers, listed on the page: so_reuseport, addresses.",
        len(view.state.warnings),
    )


#: Everything that is made from a snapshot, in the order of the exposition.
SIGNALS: tuple[PoolerSignal, ...] = (add_limits, add_pools, add_waits, add_clients, add_info)


def pooler_families(state: PoolerState, caps: PoolerCaps, now: float) -> Families:
    """Every series of `state`. After a failed poll they are those of the last good one.

    Two ages depend on `now` (Unix seconds); `aged_families` makes them anew for a scrape.
    """
    builder = Builder(server=state.server, pooler=state.pooler)
    add_watcher(builder, state)
    if state.snapshot is not None:
        view = PoolerView(state, state.snapshot, caps, now)
        for signal in SIGNALS:
            signal(builder, view)
    return (*aged_families(state, now), *builder.build())
