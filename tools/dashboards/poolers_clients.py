"""Clients of the poolers, what a new one meets, and what pgheadroom sees of the poolers."""

from __future__ import annotations

from tools.dashboards import levels, queries
from tools.dashboards import panels as p
from tools.dashboards.dashboard import Place, Row

NONE = "no pooler"
CLIENTS = ("pooler_clients_warning", "pooler_clients_critical")
SEEN = p.value_map({1: ("seen", "green"), 0: ("not seen", "red")})


def rows() -> list[Row]:
    """The lower part of the dashboard."""
    return [
        Row("Clients", [Place(_clients(), 8), Place(_limits(), 8), Place(_applications(), 8)]),
        Row(
            "What a client meets, and what pgheadroom sees",
            [Place(_probe(), 8), Place(_seen(), 8), Place(_failures(), 8), Place(_about(), 24, 6)],
            collapsed=True,
        ),
    ]


def level(*names: str) -> p.Query:
    """The lowest of the poolers' thresholds by that name."""
    return p.Query(queries.threshold(*names, chosen=queries.POOLED), "{{threshold}}")


def dashed(*names: str) -> dict[str, str]:
    """The colours of thresholds, by name."""
    return {name: levels.color(name) for name in names}


def _clients() -> p.Json:
    return p.graph(
        "Client slots",
        "Clients over max_client_conn. At the lines PoolerClientsHigh and PoolerClientsCritical"
        " fire; at 100 % clients are refused.",
        [
            p.Query(queries.pooler("pgheadroom_pooler_clients_used_ratio"), "{{pooler}}"),
            level(*CLIENTS),
        ],
        p.Show("percentunit", no_value=NONE),
        dashed=dashed(*CLIENTS),
    )


def _limits() -> p.Json:
    by, name = f"{queries.POOLER}, limit, database, user", "pgheadroom_pooler_limit_used_ratio"
    return p.graph(
        "Limits of databases and users",
        "Use of limits that the pooler sets for one database or user. At a limit of connections"
        " clients wait, at a limit of clients they are refused.",
        [
            p.Query(
                queries.largest(name, by, queries.POOLED),
                "{{pooler}} {{limit}} {{database}}{{user}}",
            ),
            level("pooler_limits"),
        ],
        p.Show("percentunit", no_value="no limit is set"),
        dashed=dashed("pooler_limits"),
    )


def _applications() -> p.Json:
    labels = "pooler, application_name, database, user"
    found = queries.select("pgheadroom_pool_clients", chosen=queries.POOLED)
    each = f"sum by ({labels}) (max by ({labels}, state) ({found}))"
    waits = queries.select("pgheadroom_pool_clients", 'state="waiting"', chosen=queries.POOLED)
    waiting = f"sum by ({labels}) (max by ({labels}, state) ({waits}))"
    return p.table(
        "Who is behind the poolers",
        "The 15 applications with the most clients. Empty unless the pooler's configuration says"
        " clients: true.",
        [
            p.Column("application_name", "Application", width=140),
            p.Column("pooler", "Pooler"),
            p.Column("database", "Database"),
            p.Column("user", "User"),
        ],
        [
            p.Column(f"topk(15, {each})", "Clients", width=70),
            p.Column(f"{waiting} and on ({labels}) topk(15, {each})", "Waiting", width=70),
        ],
        sort="Clients",
    )


def _probe() -> p.Json:
    found = queries.select("pgheadroom_connect_probe_success", chosen=queries.POOLED)
    return p.states(
        "What a new client met",
        "The connect probe through each pooler, one statement, with the reason of a failure."
        " Without credentials of its own it is off.",
        p.Query(f"max by ({queries.POOLER}, reason) ({found})", "{{pooler}} {{reason}}"),
        p.value_map({1: ("is served", "green"), 0: ("fails", "red")}),
    )


def _seen() -> p.Json:
    return p.states(
        "Whether the console answers",
        "While it does not, the numbers of that pooler are old. Look at its process, stats_users"
        " and the network.",
        p.Query(queries.pooler("pgheadroom_pooler_up"), "{{pooler}}"),
        SEEN,
    )


def _failures() -> p.Json:
    found = queries.select("pgheadroom_pooler_poll_failures_total", chosen=queries.POOLED)
    rate = f"max by ({queries.POOLER}, reason) (rate({found}[$__rate_interval]))"
    return p.graph(
        "Failed polls by reason",
        "auth and tls: repair pgheadroom's login. late and network: look at the pooler and the way"
        " to it.",
        [p.Query(f"{rate} > 0", "{{pooler}} {{reason}}")],
        p.Show("cps", no_value="none failed"),
        points=True,
    )


def _about() -> p.Json:
    labels = f"{queries.POOLER}, version"
    info = queries.select("pgheadroom_pooler_info", chosen=queries.POOLED)
    warnings = queries.select("pgheadroom_pooler_warnings", chosen=queries.POOLED)
    age = queries.select("pgheadroom_pooler_snapshot_age_seconds", chosen=queries.POOLED)
    version = f"max by ({labels}) ({info})"
    joined = f"* on ({queries.POOLER}) group_left ()"
    return p.table(
        "Poolers",
        "Versions, the age of what is shown, and reasons to doubt the numbers (several processes"
        " behind one port, one pooler for two servers): pgheadroom's page lists them.",
        [
            p.Column("pooler", "Pooler", width=150),
            p.Column("server", "Server", width=150),
            p.Column("version", "Version"),
            p.Column("job", "Job"),
        ],
        [
            p.Column(
                f"{version} {joined} max by ({queries.POOLER}) ({age})",
                "Age",
                p.Show("s", decimals=0),
            ),
            p.Column(
                f"{version} {joined} max by ({queries.POOLER}) ({warnings})",
                "Warnings",
                p.Show("short", levels.NONE_OR_RED),
                "color-text",
            ),
        ],
        sort="Warnings",
    )
