"""One endpoint's alerting: results and time in, alerts, incidents and notifications out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exporter.alerting.alerts import (
    Alerts,
    advance,
    alerts_from_json,
    alerts_to_json,
)
from exporter.alerting.incidents import (
    Incident,
    Incidents,
    incidents_from_json,
    incidents_to_json,
)
from exporter.alerting.incidents import advance as advance_incidents
from exporter.alerting.message import Before, Sender, compose
from exporter.alerting.notification import Notification
from exporter.alerting.routing import Routing
from exporter.rules.model import Result
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState


@dataclass(frozen=True, slots=True)
class Book:
    """The alerts and open incidents of one endpoint: all that alerting remembers."""

    alerts: Alerts = field(default_factory=dict)
    incidents: Incidents = field(default_factory=dict)

    def to_json(self) -> Mapping[str, str]:
        """Texts to keep, by name."""
        return {
            "alerts": alerts_to_json(self.alerts),
            "incidents": incidents_to_json(self.incidents),
        }

    @classmethod
    def from_json(cls, alerts: str | None, incidents: str | None) -> Book:
        """The book that `to_json` wrote; a missing part is empty.

        Raises:
            ValueError: a text is not of that form.
        """
        return cls(
            alerts_from_json(alerts) if alerts else {},
            incidents_from_json(incidents) if incidents else {},
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What one evaluation came to."""

    book: Book
    notifications: tuple[tuple[str, Notification], ...] = ()
    """(receiver, notification), to be on disk before the first attempt."""
    ended: tuple[Incident, ...] = ()


@dataclass(frozen=True, slots=True)
class Alerter:
    """Decides for one server or pooler; holds no state of its own."""

    routing: Routing
    sender: Sender

    def decide(  # noqa: PLR0913  what a decision rests on
        self,
        book: Book,
        results: Sequence[Result],
        state: ServerState | PoolerState,
        before: Before | None,
        now: float,
        *,
        observed: bool,
    ) -> Decision:
        """The book after one evaluation at `now`, and what must be told.

        Args:
            book: what was remembered.
            results: the results of every rule for this endpoint.
            state: what is known of the server or pooler.
            before: who held what a while ago.
            now: seconds of the steady clock.
            observed: whether anything is known; if not, absence ends no alert.
        """
        alerts = advance(book.alerts, results, now, observed=observed)
        step = advance_incidents(book.incidents, alerts.values(), state, self.routing, now)
        notifications = tuple(
            (told.receiver, compose(told, state, before, self.sender, now)) for told in step.told
        )
        return Decision(Book(alerts, step.open), notifications, step.ended)
