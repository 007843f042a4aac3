"""Alerts become incidents, one for each server and family, and each receiver hears what it must.

A ramp through forecast, 70 % and 85 % is one incident that escalates. What a receiver was told last
is part of the incident, so a restart neither repeats nor forgets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Routing
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Reason, ServerState

Incidents = Mapping[str, "Incident"]


@dataclass(frozen=True, slots=True)
class Incident:
    """What is wrong with one server in one family, from the first firing alert to the last.

    `told` holds the severity that each receiver was last told. Peaks are of the slots, whatever the
    family: they are what a person asks for afterwards.
    """

    server: str
    family: str
    opened_at: float
    severity: Severity
    alerts: tuple[Alert, ...] = ()
    told: Mapping[str, Severity] = field(default_factory=dict)
    peak_used: int | None = None
    peak_usable: int | None = None
    least_free: int | None = None
    refused: bool = False

    @property
    def id(self) -> str:
        """Names this incident and no later one of the same server and family."""
        text = f"{self.server}\n{self.family}\n{self.opened_at:.3f}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell one receiver about an incident."""

    receiver: str
    transition: Transition
    severity: Severity
    incident: Incident


@dataclass(frozen=True, slots=True)
class Step:
    """The incidents that stay open, what is to be told, and the incidents that ended."""

    open: Incidents
    told: tuple[Told, ...]
    ended: tuple[Incident, ...]


def dedup_key(install_id: str, server: str, family: str) -> str:
    """The key under which a pager knows the incident: the same after a lost disk.

    PagerDuty allows 255 characters (Events API v2); a digest has 64 whatever the names are.
    """
    return hashlib.sha256(f"{install_id}|{server}|{family}".encode()).hexdigest()


def advance(
    incidents: Incidents,
    alerts: Iterable[Alert],
    state: ServerState | PoolerState,
    routing: Routing,
    now: float,
) -> Step:
    """The incidents of `state.server` after one evaluation at `now`."""
    firing: dict[str, list[Alert]] = {}
    for alert in alerts:
        if alert.state is AlertState.FIRING:
            firing.setdefault(alert.family, []).append(alert)
    following: dict[str, Incident] = {}
    told: list[Told] = []
    for family in {**incidents, **firing}:
        incident = incidents.get(family)
        if incident is None:
            incident = Incident(state.server, family, now, Severity.INFO)
        now_firing = firing.get(family, [])
        incident, news = _told(_observed(incident, now_firing, state), now_firing, routing)
        told += news
        following[family] = incident
    ended = tuple(incident for incident in following.values() if incident.family not in firing)
    still = {family: each for family, each in following.items() if family in firing}
    return Step(still, tuple(told), ended)


def _observed(
    incident: Incident, firing: list[Alert], state: ServerState | PoolerState
) -> Incident:
    """`incident` with its alerts as they are now, and what this observation adds to its peaks.

    The alerts of the last evaluation stay when none fires any more: the resolve names them.
    """
    ordered = tuple(sorted(firing, key=lambda a: (-a.severity.rank, a.active_at, a.rule)))
    if ordered:
        incident = replace(incident, alerts=ordered, severity=ordered[0].severity)
    refused = incident.refused or refuses_clients(state)
    if isinstance(state, PoolerState) or state.snapshot is None or not state.up:
        return replace(incident, refused=refused)
    used, limits = state.snapshot.used, state.snapshot.facts.limits
    free = limits.free(used)
    if incident.peak_used is None or used > incident.peak_used:
        incident = replace(incident, peak_used=used, peak_usable=limits.usable)
    least = free if incident.least_free is None else min(free, incident.least_free)
    return replace(incident, least_free=least, refused=refused)


def refuses_clients(state: ServerState | PoolerState) -> bool:
    """Whether a new client, or our own login, was last refused for want of a slot."""
    failed = state.failure is not None and state.failure.reason is Reason.REFUSED
    return failed or any(probe.reason is Reason.REFUSED for probe in state.probes.values())


def _told(incident: Incident, firing: list[Alert], routing: Routing) -> tuple[Incident, list[Told]]:
    """What each receiver must hear: it knows the highest severity of the alerts routed to it."""
    due = routing.severities(firing)
    news: list[Told] = []
    for receiver in sorted({*incident.told, *due}):
        before, now = incident.told.get(receiver), due.get(receiver)
        transition = _transition(before, now)
        if transition is not None:
            severity = now or before or incident.severity
            news.append(Told(receiver, transition, severity, incident))
    told = replace(incident, told=due)
    return told, [replace(each, incident=told) for each in news]


def _transition(before: Severity | None, now: Severity | None) -> Transition | None:
    if before == now:
        return None
    if before is None:
        return Transition.OPENED
    if now is None:
        return Transition.RESOLVED
    return Transition.ESCALATED if now.rank > before.rank else Transition.DEESCALATED


def incidents_to_json(incidents: Incidents) -> str:
    """Text from which `incidents_from_json` makes equal incidents."""
    return json.dumps([asdict(each) for each in incidents.values()], separators=(",", ":"))


def incidents_from_json(text: str) -> dict[str, Incident]:
    """The incidents that `incidents_to_json` wrote, by family.

    Raises:
        ValueError: `text` is not of that form.
    """
    try:
        found = [_incident(raw) for raw in json.loads(text)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of incidents: {error!r}") from error
    return {incident.family: incident for incident in found}


def _incident(raw: dict[str, Any]) -> Incident:
    alerts = tuple(Alert(**(each | {"state": AlertState(each["state"])})) for each in raw["alerts"])
    told = {receiver: Severity(word) for receiver, word in raw["told"].items()}
    parts = {"alerts": alerts, "told": told, "severity": Severity(raw["severity"])}
    return Incident(**(raw | parts))
