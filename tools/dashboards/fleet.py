"""Fleet: is anybody about to run out?"""

from __future__ import annotations

from tools.dashboards import dashboard as d
from tools.dashboards import levels, queries
from tools.dashboards import panels as p
from tools.dashboards.dashboard import Place, Row

TO_HEADROOM = p.link(
    "Headroom of ${__field.labels.server}", d.HEADROOM, server="${__field.labels.server}"
)
TO_POOLERS = p.link(
    "Poolers of ${__data.fields.Server}", d.POOLERS, server="${__data.fields.Server}"
)
ROW_TO_HEADROOM = p.link(
    "Headroom of ${__data.fields.Server}", d.HEADROOM, server="${__data.fields.Server}"
)
USED = p.Show("percentunit", levels.steps("connections_warning", "connections_critical"), maximum=1)
SEEN = p.value_map({1: ("seen", "green"), 0: ("not seen", "red")})
LEVEL = p.value_map({0: ("ok", "green"), 1: ("warning", "yellow"), 2: ("critical", "red")})
ROLES = p.value_map({2: ("primary", "green"), 1: ("standby", "blue"), 0: ("not seen", "red")})
OPEN_RUNBOOK = {
    "title": "Runbook",
    "url": levels.runbook_folder() + "${__data.fields.Runbook}",
    "targetBlank": True,
}


def build() -> p.Json:
    """The dashboard."""
    return d.dashboard(
        d.FLEET,
        "pgheadroom / Fleet",
        "Which Postgres server is about to run out of connections, how soon, and whether"
        " pgheadroom sees it.",
        [d.job(), d.choice("server", "Server", 'label_values(pgheadroom_up{job=~"$job"}, server)')],
        [
            Row("Is anybody about to run out?", [Place(panel, 4, 5) for panel in _answers()]),
            Row("Servers", [Place(_alerts(), 8, 10), Place(_servers(), 16, 10)]),
            Row(
                "When it began, alone or together",
                [
                    Place(_usage(), 12),
                    Place(_left(), 12),
                    Place(_growth(), 12),
                    Place(_history(), 12),
                ],
            ),
            Row("pgheadroom itself", [Place(panel, 8) for panel in _self()], collapsed=True),
        ],
    )


def _answers() -> list[p.Json]:
    ratio, free = (queries.server(f"pgheadroom_connections_{x}") for x in ("used_ratio", "free"))
    blind = queries.blind()
    return [
        p.stat(
            "Worst server",
            "The server with the largest share of its usable slots in use. Yellow and red are the"
            " levels of PostgresConnectionsHigh and PostgresConnectionsCritical. Click it to see"
            " who holds the slots.",
            p.Query(f"topk(1, {ratio})", "{{server}}"),
            p.Show("percentunit", USED.steps, links=[TO_HEADROOM]),
            named=True,
            background=True,
        ),
        p.stat(
            "Fewest slots left",
            "The server with the fewest usable slots that are free; a ratio hides how few a small"
            " server has. At 0 new clients are refused: stop the top holder.",
            p.Query(f"bottomk(1, {free})", "{{server}}"),
            p.Show("short", levels.LEFT, links=[TO_HEADROOM]),
            named=True,
        ),
        p.stat(
            "Soonest to run out",
            "At the current rate, and only where a forecast's gates hold. Red is within the"
            " horizon of the page, yellow within that of the warnings. Stop what grows while you"
            " can still log in.",
            p.Query(f"bottomk(1, {queries.run_out()})", "{{server}}"),
            p.time_left(TO_HEADROOM),
            named=True,
        ),
        p.stat(
            "Blind",
            "Servers whose last poll failed, or that have vanished from Prometheus within 15"
            " minutes. Their numbers are old. Look at pgheadroom's page, its log, and whether it"
            " runs at all.",
            p.Query(f"count({blind}) or 0 * count({queries.server('pgheadroom_up')})"),
            p.Show("short", levels.NONE_OR_RED, no_value="nothing is scraped"),
            background=True,
        ),
        p.stat(
            "Pooler clients waiting",
            "Clients of all PgBouncers that wait for a server connection: Postgres can look fine"
            " while they queue. The Poolers dashboard says which pool, and why.",
            p.Query(
                "sum(max by (job, server, pooler, database, user)"
                f" ({queries.select('pgheadroom_pool_clients_waiting')}))"
            ),
            p.Show("short", levels.steps("pool_clients_waiting"), no_value="no pooler"),
        ),
        p.stat(
            "Alerts firing",
            "Alerts of pgheadroom's rules that fire now, whichever engine evaluates them. They are"
            " listed below with their runbooks.",
            p.Query(f"count({queries.firing()}) or 0 * count({queries.server('pgheadroom_up')})"),
            p.Show("short", levels.NONE_OR_RED, no_value="nothing is scraped"),
        ),
    ]


def _alerts() -> p.Json:
    severity = p.Show(mappings=[_severities()])
    return p.table(
        "Why you were paged",
        "Every alert that fires. Click its name for the runbook, the server for what is happening"
        " there.",
        [
            p.Column("severity", "Severity", severity, "color-background", 85),
            p.Column("alertname", "Alert", p.Show(links=[OPEN_RUNBOOK]), width=230),
            p.Column("server", "Server", p.Show(links=[ROW_TO_HEADROOM]), width=130),
            p.Column("runbook", "Runbook", p.Show(links=[OPEN_RUNBOOK]), width=190),
        ],
        [p.Column(queries.with_runbook(queries.firing()), "Firing", width=60)],
        sort="Severity",
        falling=False,
    )


def _severities() -> p.Json:
    options = {
        name: {"text": name, "color": color, "index": index}
        for index, (name, color) in enumerate(levels.COLORS.items())
    }
    return {"type": "value", "options": options}


def _servers() -> p.Json:
    of = queries.server
    events = queries.select("pgheadroom_backends_waiting")
    event = f"{queries.SERVER}, wait_event_type, wait_event"
    waiting = f"sum by ({queries.SERVER}) (max by ({event}) ({events}))"
    waiting = f"{waiting} or {of('pgheadroom_connections_used')} * 0"
    queued = queries.select("pgheadroom_pool_clients_waiting")
    primary, standby = _roles()
    level = queries.reached(
        "pgheadroom_connections_used_ratio", "connections_warning", "connections_critical"
    )
    idle = p.Show("short", levels.steps("idle_in_transaction"))
    oldest = p.Show("s", levels.steps("idle_in_transaction_seconds"), decimals=0)
    return p.table(
        "Servers",
        "One row each, the fullest first. Level compares with the server's own thresholds, the"
        " colours of the other columns with the shipped ones. Click a server for who holds its"
        " slots.",
        [
            p.Column("server", "Server", p.Show(links=[ROW_TO_HEADROOM]), width=140),
            p.Column("job", "Job"),
        ],
        [
            p.Column(level, "Level", p.Show(mappings=[LEVEL]), "color-background", 75),
            p.Column(of("pgheadroom_up"), "Seen", p.Show(mappings=[SEEN]), "color-text", 80),
            p.Column(f"{primary} * 2 or {standby}", "Role", p.Show(mappings=[ROLES]), width=80),
            p.Column(of("pgheadroom_connections_used_ratio"), "Used %", USED, "gauge", 150),
            p.Column(of("pgheadroom_connections_used"), "Used", width=65),
            p.Column(of("pgheadroom_connections_usable"), "Usable", width=70),
            p.Column(
                of("pgheadroom_connections_free"),
                "Left",
                p.Show("short", levels.LEFT),
                "color-text",
                60,
            ),
            p.Column(queries.run_out(), "Runs out in", p.time_left(), "color-text", 105),
            p.Column(of("pgheadroom_idle_in_transaction"), "Idle in tx", idle, "color-text", 80),
            p.Column(
                of("pgheadroom_idle_in_transaction_oldest_seconds"), "Oldest", oldest, "color-text"
            ),
            p.Column(
                waiting,
                "Waiting",
                p.Show("short", levels.steps("backends_waiting")),
                "color-text",
                75,
            ),
            p.Column(
                f"sum by (job, server) (max by ({queries.POOL}) ({queued}))",
                "Queued",
                p.Show("short", levels.steps("pool_clients_waiting"), links=[TO_POOLERS]),
                "color-text",
                75,
            ),
            p.Column(
                of("pgheadroom_snapshot_age_seconds"), "Age", p.Show("s", decimals=0), width=65
            ),
        ],
        sort="Used %",
    )


def _roles() -> list[str]:
    """The primaries and the standbys among the servers."""
    return [
        queries.server("pgheadroom_server_info", f'role="{role}"')
        for role in ("primary", "standby")
    ]


def _usage() -> p.Json:
    names = ("connections_warning", "connections_critical")
    return p.graph(
        "Usage by server",
        "Slots in use over usable slots, and the levels at which pgheadroom warns and pages. One"
        " line that climbs is an application; all together are a launch or a network.",
        [
            p.Query(queries.largest("pgheadroom_connections_used_ratio"), "{{server}}"),
            p.Query(queries.threshold(*names), "{{threshold}}"),
        ],
        p.Show("percentunit", links=[TO_HEADROOM]),
        dashed={name: levels.color(name) for name in names},
    )


def _left() -> p.Json:
    return p.graph(
        "Slots left by server",
        "Usable slots that are free. Where a line touches 0, new clients are refused.",
        [p.Query(queries.smallest("pgheadroom_connections_free"), "{{server}}")],
        p.Show("short", links=[TO_HEADROOM]),
    )


def _growth() -> p.Json:
    return p.graph(
        "Growth by server",
        "Slots taken each second, over the seconds of the page's forecast. Below 0 clients leave.",
        [p.Query(queries.largest("pgheadroom_connections_growth_per_second"), "{{server}}")],
        p.Show("cps", links=[TO_HEADROOM], minimum=None),
    )


def _history() -> p.Json:
    primary, standby = _roles()
    seen = queries.server("pgheadroom_up")
    return p.states(
        "Roles, and when nobody saw the server",
        "A failover moves clients from one server to another; a leak does not. While a server is"
        " not seen, its other series are old: look at the reason under pgheadroom itself.",
        p.Query(f"({primary} * 2 or {standby}) * on ({queries.SERVER}) {seen}", "{{server}}"),
        ROLES,
    )


def _self() -> list[p.Json]:
    failures = queries.per_second("pgheadroom_poll_failures_total", f"{queries.SERVER}, reason")
    sent = 'rate(pgheadroom_notifications_total{job=~"$job"}[$__rate_interval])'
    pending = 'max by (receiver) (pgheadroom_outbox_oldest_seconds{job=~"$job"})'
    return [
        p.graph(
            "Age of what is shown",
            "Seconds since the last good poll, beyond one interval of polling only while polls"
            " fail.",
            [p.Query(queries.largest("pgheadroom_snapshot_age_seconds"), "{{server}}")],
            p.Show("s"),
        ),
        p.graph(
            "What a poll takes",
            "The last good poll of each server. One that is slow alone is a busy server or a long"
            " way to it.",
            [p.Query(queries.largest("pgheadroom_poll_duration_seconds"), "{{server}}")],
            p.Show("s"),
        ),
        p.graph(
            "Failed polls by reason",
            "refused: no slot was left even for pgheadroom. unprivileged, auth, tls, pooled:"
            " repair its configuration. late, network, starting: look at the server and the way to"
            " it.",
            [p.Query(f"{failures} > 0", "{{server}} {{reason}}")],
            p.Show("cps"),
            points=True,
        ),
        p.graph(
            "Notifications",
            "What became of them each second. dead: the receiver refused for good; failed: it is"
            " tried again.",
            [p.Query(f"sum by (receiver, outcome) ({sent})", "{{receiver}} {{outcome}}")],
            p.Show("cps", no_value="no receiver"),
            points=True,
        ),
        p.graph(
            "Oldest undelivered notification",
            "Above 0 a receiver does not answer: read its name in the legend and the reason in the"
            " log.",
            [p.Query(pending, "{{receiver}}")],
            p.Show("s", no_value="no receiver"),
        ),
        p.stat(
            "State and configuration",
            "Whether what is decided is kept on disk and the configuration on disk is the one in"
            " force. If not, make room on the volume of state_dir, or run pgheadroom config check.",
            p.Query(
                'min(pgheadroom_state_writable{job=~"$job"})'
                ' * min(pgheadroom_config_last_reload_successful{job=~"$job"})'
            ),
            p.Show(mappings=[p.value_map({1: ("well", "green"), 0: ("look at the log", "red")})]),
        ),
    ]
