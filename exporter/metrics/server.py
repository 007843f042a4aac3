"""The series of one server: whether it is seen, its headroom, its forecast and its probes."""

from __future__ import annotations

from exporter.metrics.activity import Caps, add_activity
from exporter.metrics.families import Builder, Families
from exporter.snapshot.server import Reason, ServerState, Snapshot

AGE = "pgheadroom_snapshot_age_seconds"
FAILING = "pgheadroom_poll_failing_seconds"


def server_families(state: ServerState, caps: Caps, now: float) -> Families:
    """Every series of `state`. After a failed poll they are those of the last good one.

    The two ages depend on `now` (Unix seconds); `aged_families` makes them anew for a scrape.
    """
    builder = Builder(server=state.server)
    _add_watcher(builder, state)
    _add_probes(builder, state)
    for name, value in state.thresholds.items():
        builder.gauge(
            "pgheadroom_threshold",
            "What the shipped rules compare with, from the configuration.",
            value,
            threshold=name,
        )
    if state.snapshot is not None:
        _add_headroom(builder, state, state.snapshot)
        _add_facts(builder, state.snapshot)
        add_activity(builder, state.snapshot.activity, caps, now)
    return (*aged_families(state, now), *builder.build())


def aged_families(state: ServerState, now: float) -> Families:
    """The series that grow while nothing is polled."""
    builder = Builder(server=state.server)
    if state.snapshot is not None:
        age = max(0.0, now - state.snapshot.taken_at)
        builder.gauge(AGE, "Seconds since the last good poll; every other series is that old.", age)
    failing = max(0.0, now - state.failing_since) if state.failing_since is not None else 0.0
    builder.gauge(FAILING, "Seconds for which polls have failed, 0 while they succeed.", failing)
    return builder.build()


def without_aged(families: Families) -> Families:
    """`families` less those that `aged_families` makes anew."""
    return tuple(family for family in families if family.name not in (AGE, FAILING))


def _add_watcher(builder: Builder, state: ServerState) -> None:
    builder.gauge("pgheadroom_up", "Whether the last poll saw the server.", float(state.up))
    for reason in Reason:
        builder.counter(
            "pgheadroom_poll_failures_total",
            "Polls that failed, by reason.",
            state.failures.get(reason, 0),
            reason=reason,
        )
    if state.failure is not None:
        builder.gauge(
            "pgheadroom_poll_failure",
            "1 for the reason of the last poll's failure; absent while polls succeed.",
            1,
            reason=state.failure.reason,
        )
    if state.snapshot is not None:
        builder.gauge(
            "pgheadroom_poll_duration_seconds",
            "What the last good poll took.",
            state.snapshot.poll_seconds,
        )


def _add_probes(builder: Builder, state: ServerState) -> None:
    for probe in state.probes.values():
        builder.gauge(
            "pgheadroom_connect_probe_success",
            "Whether a new client could connect, and why not.",
            float(probe.reason is None),
            via=probe.via,
            reason=probe.reason or "",
        )
        builder.gauge(
            "pgheadroom_connect_probe_seconds",
            "What a new client's connection took, or its refusal.",
            probe.seconds,
            via=probe.via,
        )


def _add_headroom(builder: Builder, state: ServerState, snapshot: Snapshot) -> None:
    used, limits = snapshot.used, snapshot.facts.limits
    add = builder.gauge
    add("pgheadroom_connections_used", "Client backends: slots in use.", used)
    add("pgheadroom_connections_max", "max_connections.", limits.max_connections)
    add(
        "pgheadroom_connections_usable",
        "max_connections less superuser_reserved_connections, reserved_connections"
        " and the provider's reserve.",
        limits.usable,
    )
    add("pgheadroom_connections_free", "Usable slots that are not taken.", limits.free(used))
    add(
        "pgheadroom_connections_used_ratio",
        "Slots in use over usable slots; may pass 1.",
        limits.used_ratio(used),
    )
    add(
        "pgheadroom_connections_max_used_ratio",
        "Slots in use over max_connections.",
        limits.max_used_ratio(used),
    )
    add(
        "pgheadroom_connections_growth_per_second",
        "Slots taken per second, least squares over the last 20 s.",
        state.growth_per_second,
    )
    for window, seconds in state.forecasts.items():
        add(
            "pgheadroom_exhaustion_forecast_seconds",
            "Seconds until the usable slots run out at the current rate; absent while the"
            " window's gates do not hold.",
            seconds,
            window=window,
        )


def _add_facts(builder: Builder, snapshot: Snapshot) -> None:
    facts, sessions = snapshot.facts, snapshot.sessions
    builder.gauge(
        "pgheadroom_server_info",
        "Always 1; the labels say what the server is.",
        1,
        version=facts.version,
        role=facts.role,
    )
    _add_limits(builder, snapshot)
    if sessions is None:
        return
    for name, documentation, value in (
        ("sessions_total", "Sessions established.", sessions.sessions),
        ("sessions_abandoned_total", "Sessions whose client vanished.", sessions.abandoned),
        ("sessions_fatal_total", "Sessions ended by a fatal error.", sessions.fatal),
        ("sessions_killed_total", "Sessions ended by an operator.", sessions.killed),
    ):
        builder.counter(f"pgheadroom_{name}", documentation, value)


def _add_limits(builder: Builder, snapshot: Snapshot) -> None:
    for ratio in snapshot.role_use():
        builder.gauge(
            "pgheadroom_role_connections_used_ratio",
            "A role's connections over its CONNECTION LIMIT, where one is set.",
            ratio.used / max(1, ratio.limit),
            usename=ratio.name,
        )
    for ratio in snapshot.database_use():
        builder.gauge(
            "pgheadroom_database_connections_used_ratio",
            "A database's connections over its CONNECTION LIMIT, where one is set.",
            ratio.used / max(1, ratio.limit),
            datname=ratio.name,
        )
