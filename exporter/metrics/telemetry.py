"""The series about pgheadroom itself: deliveries, the outbox, the state directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exporter.metrics.families import Builder, Families


@dataclass(frozen=True, slots=True)
class Receiving:
    """One receiver's deliveries. Buckets are cumulative by upper bound in seconds."""

    receiver: str
    outcomes: Mapping[str, int]
    pending: int
    dead: int
    oldest_seconds: float
    failing: bool
    latency_buckets: Mapping[float, int]
    latency_count: int
    latency_sum: float


@dataclass(frozen=True, slots=True)
class Reload:
    """What became of the configuration as it was last read; `at` is Unix seconds."""

    successful: bool
    at: float


@dataclass(frozen=True, slots=True)
class Late:
    """How late turns began. Buckets are cumulative by upper bound in seconds."""

    buckets: Mapping[float, int]
    count: int
    sum: float


def own_families(  # noqa: PLR0913  one process has that many sides
    receivers: Iterable[Receiving],
    reload: Reload,
    late: Late,
    *,
    writable: bool,
    heartbeat: bool | None = None,
    silences: int = 0,
) -> Families:
    """What the self rules evaluate and `/metrics` shows of the alerter.

    `heartbeat` is whether the last one arrived, None where none is configured; `silences` are
    those that hold now.
    """
    builder = Builder()
    builder.histogram(
        "pgheadroom_turn_late_seconds",
        "How late polls and probes began: whether this machine is large enough for its servers.",
        {**late.buckets, float("inf"): late.count},
        late.sum,
    )
    builder.gauge(
        "pgheadroom_config_last_reload_successful",
        "Whether the configuration could be used when it was last read; if not, the one before is.",
        float(reload.successful),
    )
    builder.gauge(
        "pgheadroom_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read, Unix time.",
        reload.at,
    )
    for each in receivers:
        _add_receiver(builder, each)
    builder.gauge(
        "pgheadroom_state_writable",
        "Whether what is decided is kept on disk, and so survives a restart.",
        float(writable),
    )
    builder.gauge(
        "pgheadroom_heartbeat_success",
        "Whether the last heartbeat was sent and accepted; only where one is configured.",
        None if heartbeat is None else float(heartbeat),
    )
    builder.gauge(
        "pgheadroom_silences_active",
        "Silences that hold now; recurring mutes are not counted.",
        silences,
    )
    return builder.build()


def _add_receiver(builder: Builder, each: Receiving) -> None:
    for outcome, count in each.outcomes.items():
        builder.counter(
            "pgheadroom_notifications_total",
            "Notifications and attempts by what became of them.",
            count,
            receiver=each.receiver,
            outcome=outcome,
        )
    gauges = (
        ("pending", "Notifications that are not delivered yet.", each.pending),
        ("dead", "Notifications that were given up within the last hour.", each.dead),
        ("oldest_seconds", "Age of the oldest undelivered notification.", each.oldest_seconds),
        ("failing", "1 while the last attempt to deliver failed.", float(each.failing)),
    )
    for name, documentation, value in gauges:
        builder.gauge(f"pgheadroom_outbox_{name}", documentation, value, receiver=each.receiver)
    builder.histogram(
        "pgheadroom_notification_seconds",
        "From the decision to the receiver's answer.",
        {**each.latency_buckets, float("inf"): each.latency_count},
        each.latency_sum,
        receiver=each.receiver,
    )
