"""`pgheadroom_alerts`: what the built-in engine thinks, beside Prometheus' own `ALERTS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.metrics.families import Builder, Families


def alert_families(alerts: Iterable[tuple[Mapping[str, str], str]]) -> Families:
    """How many alerts are pending and firing, from (labels, state) pairs."""
    counts: Counter[tuple[str, str, str, str]] = Counter(
        (
            labels.get("server", ""),
            labels.get("alertname", ""),
            state,
            labels.get("severity", ""),
        )
        for labels, state in alerts
    )
    builder = Builder()
    for (server, alertname, state, severity), count in counts.items():
        builder.gauge(
            "pgheadroom_alerts",
            "Alerts of the built-in engine, by state.",
            count,
            server=server,
            alertname=alertname,
            alertstate=state,
            severity=severity,
        )
    return builder.build()
