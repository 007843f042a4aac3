"""Poolers: which pool waits and why, and what all pools may ask of the servers."""

from __future__ import annotations

from tools.dashboards import dashboard as d
from tools.dashboards import levels, queries
from tools.dashboards import panels as p
from tools.dashboards.dashboard import Place, Row
from tools.dashboards.poolers_clients import CLIENTS, NONE, dashed, level, rows

WAITS = ("pool_wait_warning", "pool_wait_critical")
POOL_NAME = "{{pooler}} {{database}}/{{user}}"


def build() -> p.Json:
    """The dashboard."""
    chosen = 'job=~"$job", server=~"$server"'
    return d.dashboard(
        d.POOLERS,
        "pgheadroom / Poolers",
        "PgBouncers: which pool makes clients wait, why, and whether all pools together fit the"
        " servers behind them.",
        [
            d.job(),
            d.choice("server", "Server", 'label_values(pgheadroom_pooler_up{job=~"$job"}, server)'),
            d.choice("pooler", "Pooler", f"label_values(pgheadroom_pooler_up{{{chosen}}}, pooler)"),
        ],
        [
            Row("Does anybody wait?", [Place(panel, 4, 5) for panel in _answers()]),
            Row("Which pool, and why", [Place(_pools(), 14, 10), Place(_why(), 10, 10)]),
            Row(
                "Waiting",
                [Place(_waiting(), 8), Place(_longest(), 8), Place(_per_transaction(), 8)],
            ),
            Row("Pools", [Place(_used(), 8), Place(_connections(), 8), Place(_paused(), 8)]),
            Row(
                "What the poolers may ask of the servers",
                [Place(_capacity(), 12), Place(_capacity_ratio(), 12)],
            ),
            *rows(),
        ],
    )


def _answers() -> list[p.Json]:
    pool, pooler = queries.pool, queries.pooler
    paused = queries.select("pgheadroom_pool_paused", chosen=queries.POOLED)
    ratio = queries.server("pgheadroom_pool_capacity_ratio")
    return [
        p.stat(
            "Clients waiting",
            "For a server connection, in all pools. A few for a moment are what a pooler is for;"
            " if it stays, the table below names the pool.",
            p.Query(f"sum({pool('pgheadroom_pool_clients_waiting')})"),
            p.Show("short", levels.steps("pool_clients_waiting"), no_value=NONE),
            background=True,
        ),
        p.stat(
            "Longest wait",
            "How long the client that waits the longest has waited by now. Yellow and red are the"
            " levels of PoolerWaitHigh and PoolerWaitCritical; after query_wait_timeout it is"
            " thrown out.",
            p.Query(f"topk(1, {pool('pgheadroom_pool_wait_seconds')})", POOL_NAME),
            p.Show("s", levels.steps(*WAITS), no_value=NONE),
            named=True,
        ),
        p.stat(
            "Fullest pool",
            "Server connections in use over size and reserve. At 100 % the next client waits: look"
            " for slow or forgotten transactions before raising the size.",
            p.Query(f"topk(1, {pool('pgheadroom_pool_used_ratio')})", POOL_NAME),
            p.Show("percentunit", levels.steps("pool_used"), no_value="no limit is set"),
            named=True,
        ),
        p.stat(
            "Client slots used",
            "The pooler with the largest share of max_client_conn. At 100 % clients are refused,"
            " whatever Postgres has left: raise max_client_conn and the limit of open files.",
            p.Query(f"topk(1, {pooler('pgheadroom_pooler_clients_used_ratio')})", "{{pooler}}"),
            p.Show("percentunit", levels.steps(*CLIENTS), no_value=NONE),
            named=True,
        ),
        p.stat(
            "Paused databases",
            "PAUSE or SUSPEND holds their clients up. If nobody is at work there, RESUME on the"
            " console.",
            p.Query(f"sum(max by ({queries.POOLER}, database) ({paused}))"),
            p.Show("short", levels.NONE_OR_RED, no_value=NONE),
        ),
        p.stat(
            "Oversubscribed",
            "The server whose poolers may open the most, over its usable slots. Above 100 % they"
            " can exhaust it together: lower pool sizes.",
            p.Query(f"topk(1, {ratio})", "{{server}}"),
            p.Show("percentunit", levels.steps("pool_capacity"), no_value="no server"),
            named=True,
        ),
    ]


def _labels() -> list[p.Column]:
    headroom = p.link(
        "Headroom of ${__data.fields.Server}", d.HEADROOM, server="${__data.fields.Server}"
    )
    return [
        p.Column("pooler", "Pooler", width=120),
        p.Column("database", "Database", width=110),
        p.Column("user", "User", width=110),
        p.Column("server", "Server", p.Show(links=[headroom]), width=110),
        p.Column("job", "Job"),
    ]


def _pools() -> p.Json:
    pool = queries.pool
    return p.table(
        "Pools",
        "One row each, the one with the longest queue first. Full and waiting: slow or forgotten"
        " transactions, or a pool that is too small. Not full and waiting: paused, at another"
        " limit, or the server does not answer.",
        _labels(),
        [
            p.Column(
                pool("pgheadroom_pool_clients_waiting"),
                "Waiting",
                p.Show("short", levels.steps("pool_clients_waiting")),
                "color-text",
                75,
            ),
            p.Column(
                pool("pgheadroom_pool_wait_seconds"),
                "Longest",
                p.Show("s", levels.steps(*WAITS)),
                "color-text",
            ),
            p.Column(pool("pgheadroom_pool_connections_used"), "Used", width=65),
            p.Column(pool("pgheadroom_pool_connections_max"), "Size", width=65),
            p.Column(
                pool("pgheadroom_pool_used_ratio"),
                "Used %",
                p.Show("percentunit", levels.steps("pool_used"), maximum=1),
                "gauge",
                140,
            ),
        ],
        sort="Waiting",
    )


def _reasons() -> str:
    """A series for each pool that waits and each reason that holds, in the label `why`."""
    waits = f"({queries.pool('pgheadroom_pool_clients_waiting')} > 0)"
    of_pool, of_database = queries.POOL, f"{queries.POOLER}, database"
    of_user, of_server = f"{queries.POOLER}, user", queries.SERVER
    free = queries.server("pgheadroom_connections_free")
    paused = queries.select("pgheadroom_pool_paused", chosen=queries.POOLED)
    limits = queries.select(
        "pgheadroom_pooler_limit_used_ratio", 'limit=~".+_connections"', chosen=queries.POOLED
    )
    whys = {
        "the pool is full": f"on ({of_pool}) {queries.pool('pgheadroom_pool_used_ratio')} >= 1",
        "paused": f"on ({of_database}) max by ({of_database}) ({paused}) == 1",
        "limit of the database": f"on ({of_database}) max by ({of_database}) ({limits}) >= 1",
        "limit of the user": f"on ({of_user}) max by ({of_user}) ({limits}) >= 1",
        "the server has no slot": f"on ({of_server}) {free} == 0",
    }
    known = [f"{waits} and {why}" for why in whys.values()]
    found = [queries.tagged(each, "why", why) for why, each in zip(whys, known, strict=True)]
    rest = f"{waits} unless on ({of_pool}) ({' or '.join(known)})"
    return " or ".join([*found, queries.tagged(rest, "why", "the server is slow to let it in")])


def _why() -> p.Json:
    return p.table(
        "Why clients wait",
        "Every reason that holds for a pool that waits. Full: end slow transactions, then consider"
        " its size. Paused: RESUME. A limit: raise it or lower the users' pools. No slot: the"
        " Headroom dashboard says who has them.",
        [*_labels(), p.Column("why", "Why", width=200)],
        [p.Column(_reasons(), "Waiting", width=75)],
        sort="Waiting",
    )


def _largest(name: str) -> str:
    return queries.largest(name, queries.POOL, queries.POOLED)


def _waiting() -> p.Json:
    return p.graph(
        "Clients waiting by pool",
        "Above the line PoolerClientsWaiting warns. All pools at once: the server; one pool: its"
        " application.",
        [
            p.Query(_largest("pgheadroom_pool_clients_waiting"), POOL_NAME),
            level("pool_clients_waiting"),
        ],
        p.Show("short", no_value=NONE),
        dashed=dashed("pool_clients_waiting"),
    )


def _longest() -> p.Json:
    return p.graph(
        "Longest wait by pool",
        "Of clients that wait now. At the lines PoolerWaitHigh and PoolerWaitCritical fire.",
        [p.Query(_largest("pgheadroom_pool_wait_seconds"), POOL_NAME), level(*WAITS)],
        p.Show("s", no_value=NONE),
        dashed=dashed(*WAITS),
    )


def _per_transaction() -> p.Json:
    by, name = f"{queries.POOLER}, database", "pgheadroom_pool_wait_per_transaction_seconds"
    return p.graph(
        "Wait per transaction",
        "What a client waited each time it needed a server connection, over a minute: what users"
        " feel.",
        [p.Query(queries.largest(name, by, queries.POOLED), "{{pooler}} {{database}}")],
        p.Show("s", no_value=NONE),
    )


def _used() -> p.Json:
    return p.graph(
        "Pool use",
        "Server connections in use over size and reserve. From the line on PoolSaturated warns.",
        [p.Query(_largest("pgheadroom_pool_used_ratio"), POOL_NAME), level("pool_used")],
        p.Show("percentunit", no_value=NONE),
        dashed=dashed("pool_used"),
    )


def _connections() -> p.Json:
    return p.graph(
        "Server connections in use",
        "By pool: what a pool holds of its server's slots. Compare with the sizes in the table"
        " above.",
        [p.Query(_largest("pgheadroom_pool_connections_used"), POOL_NAME)],
        p.Show("short", no_value=NONE),
        stacked=True,
    )


def _paused() -> p.Json:
    found = queries.select("pgheadroom_pool_paused", chosen=queries.POOLED)
    return p.states(
        "Paused",
        "When a PAUSE or SUSPEND held up the clients of a database. Short ones are deployments;"
        " PoolerPaused pages after half a minute.",
        p.Query(f"max by ({queries.POOLER}, database) ({found} == 1)", "{{pooler}} {{database}}"),
        p.value_map({1: ("paused", "red")}),
        no_value="none was paused",
    )


def _capacity() -> p.Json:
    of = queries.server
    return p.graph(
        "Capacity against usable slots",
        "What all poolers of a server may open, beside what it has. Where capacity is above"
        " usable, a launch can exhaust the server through its poolers.",
        [
            p.Query(of("pgheadroom_pool_capacity"), "{{server}} capacity"),
            p.Query(of("pgheadroom_connections_usable"), "{{server}} usable"),
            p.Query(of("pgheadroom_connections_used"), "{{server}} used"),
        ],
        p.Show("short", no_value="no server"),
    )


def _capacity_ratio() -> p.Json:
    return p.graph(
        "Capacity over usable slots",
        "Above the line PoolsOversubscribed warns. Lower pool_size, or max_db_connections for all"
        " pools at once.",
        [
            p.Query(queries.server("pgheadroom_pool_capacity_ratio"), "{{server}}"),
            p.Query(queries.threshold("pool_capacity"), "{{threshold}}"),
        ],
        p.Show("percentunit", no_value="no server"),
        dashed=dashed("pool_capacity"),
    )
