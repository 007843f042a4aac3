"""Headroom: who holds the slots of one server, who grew, and which limit binds."""

from __future__ import annotations

from tools.dashboards import dashboard as d
from tools.dashboards import headroom_sessions, levels, queries
from tools.dashboards import panels as p
from tools.dashboards.dashboard import Place, Row

USED = p.Show("percentunit", levels.steps("connections_warning", "connections_critical"), maximum=1)


#: Each limit by the level of its own rule.
LIMITS = p.Show(
    "percentunit",
    levels.steps("role_connections"),
    others=(
        ("server", USED.steps),
        ("clients of .*", levels.steps("pooler_clients_warning", "pooler_clients_critical")),
    ),
    maximum=1,
)


def build() -> p.Json:
    """The dashboard."""
    return d.dashboard(
        d.HEADROOM,
        "pgheadroom / Headroom",
        "One Postgres server: how many connection slots are left, who holds them, who grew, and"
        " what is in the way.",
        [
            d.job(),
            d.choice(
                "server",
                "Server",
                'label_values(pgheadroom_up{job=~"$job"}, server)',
                several=False,
            ),
            d.interval("window", "Grew within", ("1m", "5m", "15m", "1h", "6h", "1d"), "15m"),
        ],
        [
            Row("How close is it?", [Place(panel, 4, 5) for panel in _answers()]),
            Row("Where the slots went", [Place(_states(), 12, 9), Place(_projection(), 12, 9)]),
            Row(
                "Who",
                [
                    Place(_holders(), 14, 11),
                    Place(_grew(), 10, 11),
                    Place(_applications(), 14, 9),
                    Place(_addresses(), 10, 9),
                ],
            ),
            Row("Which limit binds", [Place(_limits(), 10), Place(_limits_then(), 14)]),
            *headroom_sessions.rows(),
        ],
    )


def _answers() -> list[p.Json]:
    one = queries.one
    failure = p.Show("percentunit", USED.steps)
    # The names that a probe's reason gives, where it failed.
    probe = queries.select("pgheadroom_connect_probe_success", 'pooler=""')
    seen = p.value_map({1: ("seen", "green"), 0: ("not seen", "red")})
    return [
        p.stat(
            "Used",
            "Slots in use over usable slots (max_connections less every reserve). At 100 %"
            " ordinary roles are refused. From yellow on, look at who holds the slots; from red"
            " on, stop the top holder.",
            p.Query(one("pgheadroom_connections_used_ratio")),
            failure,
            background=True,
        ),
        p.stat(
            "Slots left",
            "Usable slots that are free. At 0 new clients are refused; log in through a reserved"
            " slot.",
            p.Query(one("pgheadroom_connections_free")),
            p.Show("short", levels.LEFT),
        ),
        p.stat(
            "Runs out in",
            "The soonest of the forecasts whose gates hold. Red is the page's horizon, yellow the"
            " warnings'.",
            p.Query(f"min({queries.run_out()})"),
            p.time_left(),
        ),
        p.stat(
            "Tightest limit",
            "Whatever is nearest to its end: the server's usable slots, the CONNECTION LIMIT of a"
            " role or of a database, or a pooler's max_client_conn. Raising another one does not"
            " help.",
            p.Query(f"topk(1, {_limit_ratios()})", "{{limit}}"),
            LIMITS,
            named=True,
        ),
        p.stat(
            "A new client",
            "What the connect probe, an ordinary new client, met last. refused: no slot was left.",
            p.Query(f"max by (reason) ({probe})", "probe {{reason}}"),
            p.Show(
                mappings=[p.value_map({1: ("gets in", "green"), 0: ("fails", "red")})],
                no_value="no probe",
            ),
            named=True,
        ),
        p.stat(
            "pgheadroom",
            "Whether the last poll saw the server. If not, everything here is as old as its last"
            " good poll; the reason is at the bottom.",
            p.Query(one("pgheadroom_up")),
            p.Show(mappings=[seen]),
        ),
    ]


def _states() -> p.Json:
    return p.graph(
        "Slots by state",
        "All idle: pools that are too big, or a leak. All active: a storm or slow statements. Idle"
        " in transaction: a client that does not commit. The dashed lines are the usable slots and"
        " max_connections.",
        [
            p.Query(queries.holders("state"), "{{state}}"),
            p.Query(queries.one("pgheadroom_connections_usable"), "usable"),
            p.Query(queries.one("pgheadroom_connections_max"), "max_connections"),
        ],
        p.Show("short"),
        stacked=True,
        dashed={"usable": "red", "max_connections": "text"},
    )


def _projection() -> p.Json:
    one = queries.one
    near, far = levels.horizon("page"), levels.horizon("leak")
    used = queries.select("pgheadroom_connections_used")
    soon = f"max({used}) + {near:g} * {one('pgheadroom_connections_growth_per_second')}"
    late = f"max(predict_linear({used}[1h], {far:g}))"
    hours = f"{far / 3600:g} h"
    return p.graph(
        "Projection",
        f"Where the count would be in {near:g} s at the rate of the last seconds, and in {hours} at"
        " that of the last hour, at most max_connections. Where one stays above usable, act before"
        " it comes true.",
        [
            p.Query(one("pgheadroom_connections_used"), "used"),
            p.Query(_within(soon), f"in {near:g} s"),
            p.Query(_within(late), f"in {hours}"),
            p.Query(one("pgheadroom_connections_usable"), "usable"),
        ],
        p.Show("short"),
        dashed={"usable": "red"},
    )


def _within(expression: str) -> str:
    """`expression` between 0 and max_connections: a steep ramp must not flatten the rest."""
    return f"clamp({expression}, 0, scalar({queries.one('pgheadroom_connections_max')}))"


def _holders() -> p.Json:
    by = queries.HOLDER
    held = queries.holders(by)
    share = f"{held} / on () group_left () {queries.one('pgheadroom_connections_usable')}"
    inside = queries.holders(by, 'state=~"idle in transaction.*"')
    idle = queries.holders(by, 'state="idle"')
    among = f"and on ({by}) topk(15, {held})"
    stuck = p.Show("short", levels.steps("idle_in_transaction"))
    return p.table(
        "Who holds the slots",
        "The 15 largest by application, role and database. Many idle ones are a pool that is too"
        " big: lower it. One that grew is the one to stop. Behind a PgBouncer the Poolers"
        " dashboard names the clients.",
        [
            p.Column("application_name", "Application", width=170),
            p.Column("usename", "Role", width=110),
            p.Column("datname", "Database", width=110),
        ],
        [
            p.Column(f"topk(15, {held})", "Slots", width=65),
            p.Column(f"({share}) {among}", "Of usable", USED, "gauge", 140),
            p.Column(f"({idle}) {among}", "Idle", width=60),
            p.Column(f"({inside}) {among}", "In tx, idle", stuck, "color-text"),
            p.Column(f"({queries.growth(by)}) {among}", "Grew by", p.Show(minimum=None), width=80),
        ],
        sort="Slots",
    )


def _grew() -> p.Json:
    grown = f"topk(10, {queries.growth(queries.HOLDER)}) > 0"
    return p.bars(
        "Who grew",
        "Who has taken more slots than before, within the span chosen above: who changed, not who"
        " is big. Empty means that nobody grew.",
        p.Query(grown, "{{application_name}} / {{usename}} / {{datname}}"),
        p.Show("short", no_value="nobody grew"),
    )


def _applications() -> p.Json:
    return p.graph(
        "Slots by application",
        "The ten largest at each moment. A step is a deployment or a scale-out, a slope a leak.",
        [p.Query(f"topk(10, {queries.holders('application_name')})", "{{application_name}}")],
        p.Show("short"),
        stacked=True,
    )


def _addresses() -> p.Json:
    found = queries.select("pgheadroom_client_connections")
    return p.table(
        "By client address",
        "The 15 addresses with the most slots: which node, which pooler. Empty with"
        " client_addresses: false.",
        [p.Column("client_addr", "Address", width=200)],
        [p.Column(f"topk(15, max by (client_addr) ({found}))", "Slots", width=80)],
        sort="Slots",
    )


def _limit_ratios() -> str:
    """Every ratio that ends at 1, with the label `limit` for its name."""
    role = queries.select("pgheadroom_role_connections_used_ratio")
    base = queries.select("pgheadroom_database_connections_used_ratio")
    clients = queries.select("pgheadroom_pooler_clients_used_ratio")
    found = (
        queries.tagged(queries.one("pgheadroom_connections_used_ratio"), "limit", "server"),
        queries.tagged(f"max by (usename) ({role})", "limit", "role $1", "usename"),
        queries.tagged(f"max by (datname) ({base})", "limit", "database $1", "datname"),
        queries.tagged(f"max by (pooler) ({clients})", "limit", "clients of $1", "pooler"),
    )
    return f"max by (limit) ({' or '.join(found)})"


def _limits() -> p.Json:
    return p.bars(
        "Limits",
        "The ten nearest to their end. A role, a database or a pooler can be full while the server"
        " has slots left: lower its clients' pools, or raise its limit if the server has room.",
        p.Query(f"sort_desc(topk(10, {_limit_ratios()}))", "{{limit}}"),
        LIMITS,
    )


def _limits_then() -> p.Json:
    names = ("role_connections", "database_connections")
    role = queries.select("pgheadroom_role_connections_used_ratio")
    base = queries.select("pgheadroom_database_connections_used_ratio")
    return p.graph(
        "Limits of roles and databases",
        "Use of every CONNECTION LIMIT that is set, and the levels of PostgresRoleConnectionsHigh"
        " and PostgresDatabaseConnectionsHigh. At 100 % that role or database is refused.",
        [
            p.Query(f"max by (usename) ({role})", "role {{usename}}"),
            p.Query(f"max by (datname) ({base})", "database {{datname}}"),
            p.Query(queries.threshold(*names), "{{threshold}}"),
        ],
        p.Show("percentunit", no_value="no limit is set"),
        dashed={name: levels.color(name) for name in names},
    )
