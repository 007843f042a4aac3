"""The series of pgbouncer_exporter, so that its dashboards and rules go on working.

Names, labels and meaning are those of https://github.com/prometheus-community/pgbouncer_exporter
(0.12), the console's own pool and database included; every series has `server` and `pooler`
besides. Counters are there under two names: 0.11 renamed them from `pgbouncer_stats_...`, which
Grafana's mixin still reads.
"""

from __future__ import annotations

from exporter.metrics.caps import Cap
from exporter.metrics.families import Builder, Families
from exporter.metrics.pool_view import Client
from exporter.metrics.pools import capped_clients
from exporter.snapshot.pool import PoolDatabase, PoolerSnapshot, PoolStats
from exporter.snapshot.pooler import PoolerState

_MICROSECONDS = 1e6
#: The peer's name after `pgbouncer_pools_`, the console's column, what it is.
_POOLS = (
    ("client_active_connections", "cl_active", "Clients linked to a server connection, or idle."),
    ("client_waiting_connections", "cl_waiting", "Clients that wait for a server connection."),
    ("client_active_cancel_connections", "cl_active_cancel_req", "Cancel requests passed on."),
    ("client_waiting_cancel_connections", "cl_waiting_cancel_req", "Cancel requests that wait."),
    ("server_active_connections", "sv_active", "Server connections linked to a client."),
    (
        "server_active_cancel_connections",
        "sv_active_cancel",
        "Those that pass on a cancel request.",
    ),
    ("server_being_canceled_connections", "sv_being_canceled", "Those whose query is cancelled."),
    ("server_idle_connections", "sv_idle", "Server connections free for a client."),
    ("server_used_connections", "sv_used", "Those idle for longer than server_check_delay."),
    ("server_testing_connections", "sv_tested", "Those that run a reset or a check query."),
    ("server_login_connections", "sv_login", "Server connections that are logging in."),
    ("client_maxwait_seconds", "maxwait", "The longest wait of a client, in whole seconds."),
)
#: The same after `pgbouncer_databases_`.
_DATABASES = (
    ("pool_size", "pool_size", "Server connections that a pool may open."),
    ("reserve_pool", "reserve_pool_size", "Server connections in reserve."),
    ("max_connections", "max_connections", "Limit of server connections; 0 is none."),
    ("current_connections", "current_connections", "Server connections."),
    ("paused", "paused", "1 while the database is paused."),
    ("disabled", "disabled", "1 while the database is disabled."),
)
#: The same after `pgbouncer_stats_totals_` and `pgbouncer_stats_`, with what it is divided by.
_STATS = (
    ("queries_pooled_total", "total_query_count", "Queries.", 1),
    ("queries_duration_seconds_total", "total_query_time", "Time in queries.", _MICROSECONDS),
    ("received_bytes_total", "total_received", "Bytes from clients.", 1),
    ("sent_bytes_total", "total_sent", "Bytes to clients.", 1),
    ("client_wait_seconds_total", "total_wait_time", "Time that clients waited.", _MICROSECONDS),
    ("sql_transactions_pooled_total", "total_xact_count", "Transactions.", 1),
    (
        "server_in_transaction_seconds_total",
        "total_xact_time",
        "Time in transactions.",
        _MICROSECONDS,
    ),
    ("server_assignments_total", "total_server_assignment_count", "Clients served.", 1),
    ("client_parses_total", "total_client_parse_count", "Parse messages from clients.", 1),
    ("server_parses_total", "total_server_parse_count", "Parse messages to servers.", 1),
    ("binds_total", "total_bind_count", "Bind messages.", 1),
)
#: The same after `pgbouncer_`, from SHOW LISTS.
_LISTS = (
    ("databases", "databases", "Databases."),
    ("users", "users", "Users."),
    ("pools", "pools", "Pools."),
    ("free_clients", "free_clients", "Clients for which there is memory."),
    ("used_clients", "used_clients", "Clients."),
    ("login_clients", "login_clients", "Clients that are logging in."),
    ("free_servers", "free_servers", "Server connections for which there is memory."),
    ("used_servers", "used_servers", "Server connections."),
    ("cached_dns_names", "dns_names", "Names in the DNS cache."),
    ("cached_dns_zones", "dns_zones", "Zones in the DNS cache."),
    ("in_flight_dns_queries", "dns_queries", "DNS queries under way."),
)


def compatible_pooler_families(state: PoolerState, cap: Cap[Client], now: float) -> Families:
    """The series of one pooler. After a failed poll they are those of the last good one.

    Args:
        state: what is known of the pooler.
        cap: which (database, user, application_name) keep their names.
        now: Unix seconds, for the cap.
    """
    builder = Builder(server=state.server, pooler=state.pooler)
    builder.gauge("pgbouncer_up", "Whether the last poll saw the pooler.", float(state.up))
    snapshot = state.snapshot
    if snapshot is not None:
        _add_facts(builder, snapshot)
        _add_pools(builder, snapshot)
        for database in snapshot.all_databases:
            _add_database(builder, database)
        for stats in snapshot.all_stats:
            _add_stats(builder, stats)
        if state.exports_clients:
            _add_clients(builder, snapshot, cap, now)
    return builder.build()


def _add_facts(builder: Builder, snapshot: PoolerSnapshot) -> None:
    facts, add = snapshot.facts, builder.gauge
    version = f"PgBouncer {facts.version}"
    add("pgbouncer_version_info", "Always 1; the label says the version.", 1, version=version)
    add("pgbouncer_config_max_client_connections", "max_client_conn.", facts.max_client_conn)
    add(
        "pgbouncer_config_max_user_connections",
        "max_user_connections; 0 is no limit.",
        facts.max_user_connections,
    )
    for name, item, documentation in _LISTS:
        add(f"pgbouncer_{name}", documentation, snapshot.lists.get(item))


def _add_pools(builder: Builder, snapshot: PoolerSnapshot) -> None:
    for pool in snapshot.all_pools:
        for name, column, documentation in _POOLS:
            builder.gauge(
                f"pgbouncer_pools_{name}",
                documentation,
                getattr(pool, column),
                database=pool.database,
                user=pool.user,
            )


def _add_database(builder: Builder, database: PoolDatabase) -> None:
    labels = {
        "name": database.name,
        "host": database.host,
        "port": "" if database.port is None else str(database.port),
        "database": database.database,
        "force_user": database.force_user,
        "pool_mode": database.pool_mode,
    }
    for name, column, documentation in _DATABASES:
        value = getattr(database, column)
        builder.gauge(f"pgbouncer_databases_{name}", documentation, value, **labels)


def _add_stats(builder: Builder, stats: PoolStats) -> None:
    for name, column, documentation, unit in _STATS:
        raw = getattr(stats, column)
        value = None if raw is None else raw / unit
        for prefix in ("pgbouncer_stats_totals_", "pgbouncer_stats_"):
            builder.counter(f"{prefix}{name}", documentation, value, database=stats.database)


def _add_clients(builder: Builder, snapshot: PoolerSnapshot, cap: Cap[Client], now: float) -> None:
    counts = capped_clients(snapshot.clients or (), cap, now)
    for (database, user, application, state), clients in counts.items():
        builder.gauge(
            "pgbouncer_client_connections",
            "Clients by database, user, application and state.",
            clients,
            database=database,
            user=user,
            application_name=application,
            state=state,
        )
