"""Is the watcher seeing: up, age, failures, probes, thresholds. These need no snapshot."""

from __future__ import annotations

from exporter.metrics.families import Builder, Families
from exporter.snapshot.server import Reason, ServerState

AGE = "pgheadroom_snapshot_age_seconds"
FAILING = "pgheadroom_poll_failing_seconds"


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


def add_watcher(builder: Builder, state: ServerState) -> None:
    """Add what is known even of a server that was never seen."""
    _add_polls(builder, state)
    _add_probes(builder, state)
    for name, value in state.thresholds.items():
        builder.gauge(
            "pgheadroom_threshold",
            "What the shipped rules compare with, from the configuration.",
            value,
            threshold=name,
        )


def _add_polls(builder: Builder, state: ServerState) -> None:
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
