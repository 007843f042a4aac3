"""`pg_stat_activity_count` and `_max_tx_duration`, as postgres_exporter has them."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from exporter.metrics.caps import OTHER, Cap
from exporter.metrics.families import Builder
from exporter.metrics.view import Who, who_of
from exporter.snapshot.activity import BackendGroup
from exporter.snapshot.server import Snapshot

#: What the peer counts, and fills with zeros where a database has none. A backend in another state
#: (`starting` of 18, or none yet) is not counted by it.
STATES = (
    "active",
    "idle",
    "idle in transaction",
    "idle in transaction (aborted)",
    "fastpath function call",
    "disabled",
)


class _Labels(NamedTuple):
    datname: str
    state: str
    usename: str = ""
    application_name: str = ""
    backend_type: str = ""
    wait_event_type: str = ""
    wait_event: str = ""


def add_activity(builder: Builder, snapshot: Snapshot, cap: Cap[Who], now: float) -> None:
    """Add every backend with a database but our own session, workers and walsenders too.

    Beyond the cap role and application are `__other__`; database and state are kept, so that sums
    by them stay exact.
    """
    counted = [(group, group.backends - group.own) for group in snapshot.activity.groups]
    counted = [(g, n) for g, n in counted if n and g.datname and g.state in STATES]
    holders: Counter[Who] = Counter()
    for group, backends in counted:
        holders[who_of(group)] += backends
    named = cap.named(holders, now)
    counts: Counter[_Labels] = Counter()
    durations: dict[_Labels, float] = {}
    for group, backends in counted:
        labels = _labels(group, named=who_of(group) in named)
        counts[labels] += backends
        age = group.transaction_age_seconds or 0.0
        durations[labels] = max(age, durations.get(labels, 0.0))
    for labels in _missing(snapshot, counts):
        counts[labels], durations[labels] = 0, 0.0
    for labels, count in counts.items():
        builder.gauge(
            "pg_stat_activity_count",
            "Backends with a database in this state; not all of them hold a slot.",
            count,
            **labels._asdict(),
        )
    for labels, duration in durations.items():
        builder.gauge(
            "pg_stat_activity_max_tx_duration",
            "Seconds since the oldest transaction among them began; 0 where there is none.",
            duration,
            **labels._asdict(),
        )


def _labels(group: BackendGroup, *, named: bool) -> _Labels:
    return _Labels(
        group.datname,
        group.state,
        group.usename if named else OTHER,
        group.application_name if named else OTHER,
        group.backend_type,
        group.wait_event_type,
        group.wait_event,
    )


def _missing(snapshot: Snapshot, found: Counter[_Labels]) -> list[_Labels]:
    """A label set for each database and state that no backend is in."""
    present = {(labels.datname, labels.state) for labels in found}
    return [
        _Labels(datname, state)
        for datname in snapshot.facts.datconnlimit
        for state in STATES
        if (datname, state) not in present
    ]
