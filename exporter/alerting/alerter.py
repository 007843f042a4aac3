"""One endpoint's alerting: results and time in, alerts, incidents and notifications out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.alerting.alerts import (
    Alerts,
    AlertState,
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
from exporter.alerting.muting import Around, Labels, Muting
from exporter.alerting.notification import Notification
from exporter.alerting.routing import Routing
from exporter.alerting.telling import Telling
from exporter.rules.model import Result
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState


@dataclass(frozen=True, slots=True)
class Book:
    """The alerts and incidents of one endpoint: all that alerting remembers."""

    alerts: Alerts = field(default_factory=dict)
    incidents: Incidents = field(default_factory=dict)

    def to_json(self) -> Mapping[str, str]:
        """Texts to keep, by name."""
        return {
            "alerts": alerts_to_json(self.alerts),
            "incidents": incidents_to_json(self.incidents),
        }

    def renamed(self, names: Mapping[str, str]) -> Book:
        """The book as it is where receivers have other names, by the earlier ones."""
        if not names:
            return self
        incidents = {
            family: replace(each, told=_renamed(each.told, names))
            for family, each in self.incidents.items()
        }
        return replace(self, incidents=incidents)

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


def _renamed(told: Mapping[str, Telling], names: Mapping[str, str]) -> dict[str, Telling]:
    """`told` by the new names; of several with one name, the one that knows of the worst."""
    found: dict[str, Telling] = {}
    for receiver, telling in told.items():
        name = names.get(receiver, receiver)
        found[name] = max(found.get(name, telling), telling, key=lambda each: each.rank)
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """What one evaluation came to."""

    book: Book
    notifications: tuple[tuple[str, Notification], ...] = ()
    """(receiver, notification), to be on disk before the first attempt."""
    ended: tuple[Incident, ...] = ()
    firing: tuple[Labels, ...] = ()
    """The label sets of the alerts that fire, as matchers see them."""


@dataclass(frozen=True, slots=True)
class Alerter:
    """Decides for one server or pooler; holds no state of its own."""

    routing: Routing
    sender: Sender
    muting: Muting = field(default_factory=Muting)

    def decide(  # noqa: PLR0913  what a decision rests on
        self,
        book: Book,
        results: Sequence[Result],
        state: ServerState | PoolerState,
        before: Before | None,
        now: float,
        *,
        observed: bool,
        around: Around | None = None,
    ) -> Decision:
        """The book after one evaluation at `now`, and what must be told.

        Args:
            book: what was remembered.
            results: the results of every rule for this endpoint.
            state: what is known of the server or pooler.
            before: who held what a while ago.
            now: seconds of the steady clock.
            observed: whether anything is known; if not, absence ends no alert.
            around: silences, and what else fires.
        """
        alerts = advance(book.alerts, results, now, observed=observed)
        alerts, firing = self._muted(alerts, around or Around(), now)
        step = advance_incidents(book.incidents, alerts.values(), state, self.routing, now)
        notifications = tuple(
            (told.receiver, compose(told, state, before, self.sender, now)) for told in step.told
        )
        return Decision(Book(alerts, step.incidents), notifications, step.ended, firing)

    def close(self, book: Book, state: ServerState | PoolerState, now: float) -> Decision:
        """The end of everything in `book`, told at once: the endpoint is no longer watched."""
        last = replace(self, routing=Routing(()))
        return last.decide(book, (), state, None, now, observed=True)

    def firing(self, alerts: Alerts) -> dict[str, Labels]:
        """The label sets of those of `alerts` that fire, as matchers see them."""
        return {
            key: self.routing.labels_of(alert)
            for key, alert in alerts.items()
            if alert.state is AlertState.FIRING
        }

    def _muted(
        self, alerts: Alerts, around: Around, now: float
    ) -> tuple[Alerts, tuple[Labels, ...]]:
        """`alerts` with what mutes those that fire, and their label sets."""
        firing = self.firing(alerts)
        if not firing:
            return alerts, ()
        own = tuple(firing.values())
        around = replace(around, firing=(*own, *around.firing))
        at = now if around.at is None else around.at
        muted = {
            key: replace(alerts[key], muted_by=self.muting.reason(labels, around, at))
            for key, labels in firing.items()
        }
        return {**alerts, **muted}, own
