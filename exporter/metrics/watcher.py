"""Is the watcher seeing: up, age, failures, probes, thresholds. These need no snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.metrics.families import Builder, Families
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Reason, ServerState


@dataclass(frozen=True, slots=True)
class Names:
    """What the series are called. A pooler's own names keep rules that match on `server` apart."""

    up: str
    age: str
    failing: str
    failures: str
    failure: str
    duration: str


SERVER = Names(
    "pgheadroom_up",
    "pgheadroom_snapshot_age_seconds",
    "pgheadroom_poll_failing_seconds",
    "pgheadroom_poll_failures_total",
    "pgheadroom_poll_failure",
    "pgheadroom_poll_duration_seconds",
)
POOLER = Names(
    "pgheadroom_pooler_up",
    "pgheadroom_pooler_snapshot_age_seconds",
    "pgheadroom_pooler_poll_failing_seconds",
    "pgheadroom_pooler_poll_failures_total",
    "pgheadroom_pooler_poll_failure",
    "pgheadroom_pooler_poll_duration_seconds",
)
_AGED = frozenset({SERVER.age, SERVER.failing, POOLER.age, POOLER.failing})


def _named(state: ServerState | PoolerState) -> tuple[Names, str]:
    """The names of the series, and the word for what they are about."""
    return (POOLER, "pooler") if isinstance(state, PoolerState) else (SERVER, "server")


def aged_families(state: ServerState | PoolerState, now: float) -> Families:
    """The series that grow while nothing is polled."""
    names, word = _named(state)
    pooled = {"pooler": state.pooler} if isinstance(state, PoolerState) else {}
    builder = Builder(server=state.server, **pooled)
    if state.snapshot is not None:
        builder.gauge(
            names.age,
            f"Seconds since the last good poll; every other series of the {word} is that old.",
            max(0.0, now - state.snapshot.taken_at),
        )
    failing = max(0.0, now - state.failing_since) if state.failing_since is not None else 0.0
    builder.gauge(
        names.failing,
        f"Seconds for which polls of the {word} have failed, 0 while they succeed.",
        failing,
    )
    return builder.build()


def without_aged(families: Families) -> Families:
    """`families` less those that `aged_families` makes anew."""
    return tuple(family for family in families if family.name not in _AGED)


def add_watcher(builder: Builder, state: ServerState | PoolerState) -> None:
    """Add what is known even of an endpoint that was never seen."""
    _add_polls(builder, state)
    _add_probes(builder, state)
    for name, value in state.thresholds.items():
        builder.gauge(
            "pgheadroom_threshold",
            "What the shipped rules compare with, from the configuration.",
            value,
            threshold=name,
        )


def _add_polls(builder: Builder, state: ServerState | PoolerState) -> None:
    names, word = _named(state)
    builder.gauge(names.up, f"Whether the last poll saw the {word}.", float(state.up))
    for reason in Reason:
        builder.counter(
            names.failures,
            f"Polls of the {word} that failed, by reason.",
            state.failures.get(reason, 0),
            reason=reason,
        )
    if state.failure is not None:
        builder.gauge(
            names.failure,
            "1 for the reason of the last poll's failure; absent while polls succeed.",
            1,
            reason=state.failure.reason,
        )
    if state.snapshot is not None:
        builder.gauge(
            names.duration,
            f"What the last good poll of the {word} took.",
            state.snapshot.poll_seconds,
        )


def _add_probes(builder: Builder, state: ServerState | PoolerState) -> None:
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
