"""Alerts become incidents, one for each server and family, and each receiver hears what it must.

A ramp through forecast, 70 % and 85 % is one incident that escalates. What a receiver was told last
is part of the incident, so a restart neither repeats nor forgets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Routing
from exporter.alerting.telling import Firing, Telling, telling_from
from exporter.alerting.telling import advance as advance_telling
from exporter.snapshot.compact import compact_json
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Reason, ServerState

Incidents = Mapping[str, "Incident"]

#: No slot was left: of the whole server, or of a database or role with a CONNECTION LIMIT.
_OTHERS_TOO = frozenset({Reason.REFUSED, Reason.DATABASE_LIMIT})
_FULL = _OTHERS_TOO | {Reason.ROLE_LIMIT}


@dataclass(frozen=True, slots=True)
class Incident:
    """What is wrong with one server in one family, from the first firing alert to the last.

    `told` holds what each receiver knows. `ended_at` is when the last alert ended; the incident is
    kept until everybody was told, and as long as its openings say whether it flaps. The peak is of
    the slots, whatever the family: it is what a person asks for afterwards. It is the moment with
    the largest share of the usable slots, for these may change meanwhile.
    """

    server: str
    family: str
    opened_at: float
    severity: Severity
    alerts: tuple[Alert, ...] = ()
    told: Mapping[str, Telling] = field(default_factory=dict)
    ended_at: float | None = None
    peak_used: int | None = None
    peak_usable: int | None = None
    least_free: int | None = None
    refused: bool = False

    @property
    def id(self) -> str:
        """Names this incident and no later one of the same server and family."""
        text = f"{self.server}\n{self.family}\n{self.opened_at:.3f}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def quiet_since(self) -> float | None:
        """When the last of its conditions ceased: `keep_firing_for` before it ended.

        None while it goes on.
        """
        if self.ended_at is None:
            return None
        ceased = (each.keep_firing_since for each in self.alerts)
        return max((self.ended_at if at is None else at for at in ceased), default=self.ended_at)

    @property
    def believed(self) -> bool:
        """Whether some receiver was told that it is open, and nothing else since."""
        return any(telling.severity is not None for telling in self.told.values())


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell one receiver about an incident."""

    receiver: str
    transition: Transition
    severity: Severity
    incident: Incident
    flapping: bool = False
    """Whether it comes and goes, so that its end will be told late."""
    ceased_at: float | None = None
    """Since when nothing that the receiver is told of is so; None while something is."""


@dataclass(frozen=True, slots=True)
class Step:
    """The incidents to remember, what is to be told, and the incidents that ended just now."""

    incidents: Incidents
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
    """The incidents of `state.server` after one evaluation at `now`.

    `alerts` come in the order of their rules.
    """
    firing: dict[str, list[Alert]] = {}
    for alert in alerts:
        if alert.state is AlertState.FIRING:
            firing.setdefault(alert.family, []).append(alert)
    following: dict[str, Incident] = {}
    told: list[Told] = []
    ended: list[Incident] = []
    for family in {**incidents, **firing}:
        known, now_firing = incidents.get(family), firing.get(family, [])
        incident = _current(known, state.server, family, now) if now_firing or not known else known
        if not now_firing and incident.ended_at is None:
            incident = replace(incident, ended_at=now)
            ended.append(incident)
        incident, news = _told(_observed(incident, now_firing, state), now_firing, routing, now)
        told += news
        if now_firing or incident.told:
            following[family] = incident
    return Step(following, tuple(told), tuple(ended))


def _current(known: Incident | None, server: str, family: str, now: float) -> Incident:
    """The incident to which alerts that fire at `now` belong.

    One that has ended goes on if somebody still takes it to be open. Otherwise a new one begins,
    and what receivers were told of the last one still counts.
    """
    if known is None:
        return Incident(server, family, now, Severity.INFO)
    if known.ended_at is None:
        return known
    if known.believed:
        return replace(known, ended_at=None)
    return Incident(server, family, now, Severity.INFO, told=known.told)


def _observed(
    incident: Incident, firing: list[Alert], state: ServerState | PoolerState
) -> Incident:
    """`incident` with its alerts as they are now, and what this observation adds to its peak.

    The alerts of the last evaluation stay when none fires any more: the resolve names them.
    """
    ordered = _ordered(firing)
    if ordered:
        incident = replace(incident, alerts=ordered, severity=ordered[0].severity)
    refused = incident.refused or refuses_clients(state)
    if isinstance(state, PoolerState) or state.snapshot is None or not state.up:
        return replace(incident, refused=refused)
    incident = replace(incident, refused=refused)
    used, limits = state.snapshot.used, state.snapshot.facts.limits
    if limits.used_ratio(used) <= _peak_ratio(incident):
        return incident
    free = limits.free(used)
    return replace(incident, peak_used=used, peak_usable=limits.usable, least_free=free)


def _peak_ratio(incident: Incident) -> float:
    """The peak's share of the slots that were usable then; below 0 before there is one."""
    if incident.peak_used is None or incident.peak_usable is None:
        return -1.0
    return incident.peak_used / incident.peak_usable


def _ordered(firing: list[Alert]) -> tuple[Alert, ...]:
    """The most severe first, and among equals the rule that stands first, as `firing` has them.

    What has already happened stands first in the rule files; messages lead with it.
    """
    rules = list(dict.fromkeys(alert.rule for alert in firing))
    return tuple(sorted(firing, key=lambda a: (-a.severity.rank, rules.index(a.rule), a.active_at)))


def refuses_clients(state: ServerState | PoolerState) -> bool:
    """Whether a new client, or our own login, was last refused for want of a slot.

    The slots may be the server's, or those of a role or database. That our own role has none left
    blinds us, and refuses no client.
    """
    failed = state.failure is not None and state.failure.reason in _OTHERS_TOO
    return failed or any(probe.reason in _FULL for probe in state.probes.values())


def _told(
    incident: Incident, firing: list[Alert], routing: Routing, now: float
) -> tuple[Incident, list[Told]]:
    """What each receiver must hear."""
    found = _by_receiver(firing, routing)
    tellings: dict[str, Telling] = {}
    news: list[Told] = []
    for receiver in sorted({*incident.told, *found}):
        manner = routing.manners.get(receiver)
        known = incident.told.get(receiver, Telling())
        telling, one = advance_telling(known, found.get(receiver, Firing()), manner, now)
        if one is not None:
            ceased_at = telling.ceased_at
            told = Told(receiver, one.transition, one.severity, incident, one.flapping, ceased_at)
            news.append(told)
        if telling.matters(now, manner):
            tellings[receiver] = telling
    incident = replace(incident, told=tellings)
    return incident, [replace(each, incident=_audible(incident, each)) for each in news]


def _by_receiver(firing: list[Alert], routing: Routing) -> dict[str, Firing]:
    """What fires of what is routed to each receiver."""
    holding = [alert for alert in firing if alert.holds]
    audible = routing.severities(alert for alert in holding if not alert.muted_by)
    muted = routing.severities(alert for alert in holding if alert.muted_by)
    lapsed = routing.severities(a for a in firing if not a.holds and not a.muted_by)
    return {
        receiver: Firing(due, audible.get(receiver), muted.get(receiver), lapsed.get(receiver))
        for receiver, due in routing.severities(firing).items()
    }


def _audible(incident: Incident, told: Told) -> Incident:
    """`incident` as it is told: while it is open, with what holds and nothing mutes.

    The values of what is only kept firing are those of minutes ago.
    """
    if told.transition is Transition.RESOLVED:
        return incident
    alerts = tuple(alert for alert in incident.alerts if alert.holds and not alert.muted_by)
    return replace(incident, alerts=alerts)


def incidents_to_json(incidents: Incidents) -> str:
    """Text from which `incidents_from_json` makes equal incidents."""
    return compact_json([*incidents.values()])


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
    told = {receiver: telling_from(each) for receiver, each in raw["told"].items()}
    parts = {"alerts": alerts, "told": told, "severity": Severity(raw["severity"])}
    return Incident(**(raw | parts))
