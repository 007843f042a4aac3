"""What the sessions of one server do: transactions, waits, churn, refusals, and its poolers."""

from __future__ import annotations

from tools.dashboards import dashboard as d
from tools.dashboards import levels, queries
from tools.dashboards import panels as p
from tools.dashboards.dashboard import Place, Row


def rows() -> list[Row]:
    """The lower half of the dashboard."""
    return [
        Row("Transactions", [Place(_idle(), 8), Place(_clocks(), 8), Place(_idle_owners(), 8)]),
        Row("Waits", [Place(_waiting(), 8), Place(_events(), 8), Place(_blocked(), 8)]),
        Row("Churn", [Place(_churn(), 8), Place(_ends(), 8), Place(_stale(), 8)]),
        Row("Refusals", [Place(_probe(), 8), Place(_probe_seconds(), 8), Place(_failures(), 8)]),
        Row("Poolers in front of it", [Place(_capacity(), 12), Place(_queued(), 12)]),
        Row(
            "pgheadroom itself",
            [Place(_age(), 8), Place(_polls(), 8), Place(_own(), 8)],
            collapsed=True,
        ),
    ]


def _level(*names: str) -> p.Query:
    return p.Query(queries.threshold(*names), "{{threshold}}")


def _dashed(*names: str) -> dict[str, str]:
    return {name: levels.color(name) for name in names}


def _idle() -> p.Json:
    return p.graph(
        "Idle in transaction",
        "Sessions with an open transaction and a silent client: each keeps its slot and its locks."
        " Above the line PostgresIdleInTransaction pages. Find the application beside, and end its"
        " oldest transactions.",
        [
            p.Query(queries.one("pgheadroom_idle_in_transaction"), "idle in transaction"),
            _level("idle_in_transaction"),
        ],
        p.Show("short"),
        dashed=_dashed("idle_in_transaction"),
    )


def _clocks() -> p.Json:
    one = queries.one
    return p.graph(
        "Oldest, on each clock",
        "Silence is since the client last spoke in its open transaction (state_change),"
        " transaction since it began (xact_start), statement since it was sent. An old transaction"
        " with a short silence works; one whose silence is as old was forgotten.",
        [
            p.Query(one("pgheadroom_idle_in_transaction_oldest_seconds"), "silence"),
            p.Query(one("pgheadroom_transaction_oldest_seconds"), "transaction"),
            p.Query(one("pgheadroom_query_oldest_seconds"), "statement"),
            _level("idle_in_transaction_seconds"),
        ],
        p.Show("s"),
        dashed=_dashed("idle_in_transaction_seconds"),
    )


def _idle_owners() -> p.Json:
    found = queries.holders(queries.HOLDER, 'state=~"idle in transaction.*"')
    return p.graph(
        "Who is idle in transaction",
        "The ten with the most such sessions. Ask their owner, and set"
        " idle_in_transaction_session_timeout.",
        [p.Query(f"topk(10, {found})", "{{application_name}} / {{usename}} / {{datname}}")],
        p.Show("short", no_value="nobody"),
        stacked=True,
    )


def _waiting() -> p.Json:
    found = queries.select("pgheadroom_backends_waiting")
    each = f"max by (wait_event_type, wait_event) ({found})"
    return p.graph(
        "Backends that wait in a statement",
        "Active backends held up by locks or I/O, by kind. Above the line PostgresBackendsWaiting"
        " warns: clients that wait open further connections. Lock: find the blocker; IO: look at"
        " the disk.",
        [
            p.Query(f"sum by (wait_event_type) ({each})", "{{wait_event_type}}"),
            _level("backends_waiting"),
        ],
        p.Show("short", no_value="nobody waits"),
        stacked=True,
        dashed=_dashed("backends_waiting"),
    )


def _events() -> p.Json:
    found = queries.select("pgheadroom_wait_events", 'state="active"')
    event = f"max by (wait_event_type, wait_event) ({found})"
    # A label that is empty matches an empty pattern.
    named = f'label_replace({event}, "wait_event", "on the processor", "wait_event", "")'
    return p.graph(
        "What active backends do",
        "The ten most frequent wait events of active client backends; no event is time on the"
        " processor. LWLock and IO together are usually an overloaded server: fewer connections"
        " make it faster.",
        [p.Query(f"topk(10, {named})", "{{wait_event_type}} {{wait_event}}")],
        p.Show("short", no_value="nobody is active"),
        stacked=True,
    )


def _blocked() -> p.Json:
    return p.graph(
        "Blocked backends",
        "Active backends that wait for a heavyweight lock. If it climbs, one session at the head"
        " of the queue blocks: find it with pg_blocking_pids().",
        [p.Query(queries.one("pgheadroom_blocked_backends"), "blocked")],
        p.Show("short"),
    )


def _churn() -> p.Json:
    opened = queries.per_second("pgheadroom_sessions_total")
    return p.graph(
        "Sessions opened",
        "New sessions each second. Many with a steady count of slots: a client without a pool, or"
        " one that crashes and comes back.",
        [p.Query(opened, "opened")],
        p.Show("cps", no_value="counted from PostgreSQL 14 on"),
    )


def _ends() -> p.Json:
    kinds = ("abandoned", "fatal", "killed")
    return p.graph(
        "Sessions that ended badly",
        "abandoned: the client vanished; fatal: the server gave up on it; killed: by an operator."
        " Many abandoned ones are crashing clients or a firewall that drops idle connections.",
        [p.Query(queries.per_second(f"pgheadroom_sessions_{kind}_total"), kind) for kind in kinds],
        p.Show("cps", no_value="counted from PostgreSQL 14 on"),
    )


def _stale() -> p.Json:
    return p.graph(
        "Stale connections",
        "Idle for longer than stale_after: frozen function containers, or pools that are too big."
        " Above the line PostgresStaleConnections warns. Shorten the idle timeout of the clients'"
        " pools.",
        [
            p.Query(queries.one("pgheadroom_connections_stale"), "stale"),
            _level("stale_connections"),
        ],
        p.Show("short"),
        dashed=_dashed("stale_connections"),
    )


def _probe() -> p.Json:
    found = queries.select("pgheadroom_connect_probe_success")
    mapping = p.value_map({1: ("gets in", "green"), 0: ("fails", "red")})
    return p.states(
        "What a new client met",
        "The connect probe, directly and through each pooler, with the reason of a failure."
        " refused: every slot was taken; this is the outage itself.",
        p.Query(f"max by (via, reason) ({found})", "{{via}} {{reason}}"),
        mapping,
    )


def _probe_seconds() -> p.Json:
    found = queries.select("pgheadroom_connect_probe_seconds")
    return p.graph(
        "What a new connection takes",
        "Login of the connect probe. If it climbs before anybody is refused, the server is busy"
        " with logins: pool.",
        [p.Query(f"max by (via) ({found})", "{{via}}")],
        p.Show("s", no_value="no probe"),
    )


def _failures() -> p.Json:
    found = queries.select("pgheadroom_poll_failures_total")
    return p.graph(
        "Failed polls by reason",
        "refused: not even pgheadroom gets in any more. For the others repair what the reason"
        " names.",
        [p.Query(f"max by (reason) (increase({found}[$__rate_interval])) > 0", "{{reason}}")],
        p.Show("short", no_value="none failed"),
        points=True,
    )


def _capacity() -> p.Json:
    one = queries.one
    return p.graph(
        "Pools against slots",
        "What all poolers together may open, against the usable slots. Above them"
        " PoolsOversubscribed warns: when every pool fills up, clients are refused. Lower pool"
        " sizes until it fits.",
        [
            p.Query(one("pgheadroom_pool_capacity"), "pool capacity"),
            p.Query(one("pgheadroom_connections_used"), "used"),
            p.Query(one("pgheadroom_connections_usable"), "usable"),
        ],
        p.Show("short"),
        dashed={"usable": levels.color("pool_capacity")},
    )


def _queued() -> p.Json:
    found = queries.select("pgheadroom_pool_clients_waiting")
    each = f"max by (pooler, database, user) ({found})"
    return p.graph(
        "Clients waiting at the poolers",
        "By pooler. The Poolers dashboard says which pool, and why.",
        [p.Query(f"sum by (pooler) ({each})", "{{pooler}}")],
        p.Show("short", no_value="no pooler", links=[_to_poolers()]),
        stacked=True,
    )


def _to_poolers() -> p.Json:
    return p.link("Poolers of this server", d.POOLERS, server="${server}")


def _age() -> p.Json:
    return p.graph(
        "Age of what is shown",
        "Seconds since the last good poll, beyond one interval of polling only while polls fail.",
        [p.Query(queries.one("pgheadroom_snapshot_age_seconds"), "age")],
        p.Show("s"),
    )


def _polls() -> p.Json:
    return p.graph(
        "What a poll takes",
        "The last good poll. A poll that gets slow is the first sign of a server in trouble.",
        [p.Query(queries.one("pgheadroom_poll_duration_seconds"), "poll")],
        p.Show("s"),
    )


def _own() -> p.Json:
    own = queries.holders("usename", 'application_name="pgheadroom"')
    return p.graph(
        "pgheadroom's own connections",
        "The session that it keeps, and a probe now and then. More than a few: logins hang; look"
        " at its log.",
        [p.Query(own, "{{usename}}")],
        p.Show("short"),
    )
