"""Which receiver hears of which alert."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.alerts import Alert
from exporter.alerting.notification import Severity
from exporter.config.alerting import Route


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes, and the labels that the configuration gives the server."""

    routes: Sequence[Route]
    labels: Mapping[str, str] = field(default_factory=dict)

    def severities(self, alerts: Iterable[Alert]) -> dict[str, Severity]:
        """The highest severity among the alerts that each receiver is routed, by receiver."""
        found: dict[str, Severity] = {}
        for alert in alerts:
            labels = {**self.labels, **alert.labels, "severity": alert.severity.value}
            for route in self.routes:
                if all(matcher.matches(labels) for matcher in route.matchers):
                    known = found.get(route.receiver)
                    if known is None or alert.severity.rank > known.rank:
                        found[route.receiver] = alert.severity
        return found
