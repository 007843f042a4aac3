"""Which receiver hears of which alert, and in which manner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.alerts import Alert
from exporter.alerting.notification import Severity
from exporter.config.alerting import Receiver, Route


@dataclass(frozen=True, slots=True)
class Manner:
    """How a receiver is told.

    Args:
        chat: whether people read along, so that what flaps is damped.
        critical: seconds after which an incident that is still critical is told again, or None.
        other: the same while it is less.
    """

    chat: bool = False
    critical: float | None = None
    other: float | None = None

    def repeat(self, severity: Severity) -> float | None:
        """Seconds after which an incident of `severity` is told again; None: never."""
        return self.critical if severity is Severity.CRITICAL else self.other


def manners_of(receivers: Iterable[Receiver]) -> dict[str, Manner]:
    """The manner of each configured receiver, by name."""
    return {
        each.name: Manner(each.chat, each.repeat.critical, each.repeat.warning)
        for each in receivers
    }


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes, the labels that the configuration gives the server, and the receivers' manners.

    A receiver without a manner is told every change at once, and nothing twice.
    """

    routes: Sequence[Route]
    labels: Mapping[str, str] = field(default_factory=dict)
    manners: Mapping[str, Manner] = field(default_factory=dict)

    def labels_of(self, alert: Alert) -> dict[str, str]:
        """What matchers see of `alert`."""
        own = {"alertname": alert.rule, "family": alert.rule, **alert.labels}
        return {**self.labels, **own, "severity": alert.severity.value}

    def severities(self, alerts: Iterable[Alert]) -> dict[str, Severity]:
        """The highest severity among the alerts that each receiver is routed, by receiver."""
        found: dict[str, Severity] = {}
        for alert in alerts:
            labels = self.labels_of(alert)
            for route in self.routes:
                if all(matcher.matches(labels) for matcher in route.matchers):
                    known = found.get(route.receiver)
                    if known is None or alert.severity.rank > known.rank:
                        found[route.receiver] = alert.severity
        return found
