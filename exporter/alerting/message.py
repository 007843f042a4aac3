"""What a notification says: the arithmetic, the rate, who holds the slots, what to do next.

Everything here is taken from the last good snapshot: after exhaustion nobody can log in to look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.alerting.alerts import Alert
from exporter.alerting.causes import description_of, summary_of
from exporter.alerting.incidents import Incident, Told, dedup_key
from exporter.alerting.limits import limit_lines, limit_words
from exporter.alerting.notification import (
    AlertLine,
    Notification,
    Resolution,
    Situation,
    Transition,
)
from exporter.alerting.pooler_message import (
    RESUME,
    describe_pooler,
    held_up,
    paused_words,
    pool_of,
)
from exporter.alerting.words import (
    about_words,
    arithmetic,
    duration_words,
    failure_words,
    percent,
    rate_words,
    reason_words,
    role_words,
)
from exporter.snapshot.activity import count_by
from exporter.snapshot.blockers import roots
from exporter.snapshot.holders import HolderKey, growers, holders, oldest_idle_transaction, top_role
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState, Snapshot

HEADLINE = 80
"""Characters of a headline: what a telephone shows of a PagerDuty summary (alerting.md 5)."""
TOP = 5
#: Families of incidents whose headline has why polls fail.
UNSEEN = ("reachability", "pooler_reachability")
#: Forecasts from the nearest to the furthest; the nearest that holds is the one to tell.
WINDOWS = ("page", "warning", "leak")
#: Slots within the window of the growth. A line through one client that came and stayed rises by
#: 1.5, and no rate follows from one client.
LEAST_MOVED = 2.0


@dataclass(frozen=True, slots=True)
class Before:
    """Who held what a while ago, to tell who grew; `seconds` is how long ago."""

    holdings: Mapping[HolderKey, int]
    seconds: float


@dataclass(frozen=True, slots=True)
class Sender:
    """What every notification of this installation has in common."""

    install_id: str = "pgheadroom"
    source: str = ""
    link: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def compose(
    told: Told,
    state: ServerState | PoolerState,
    before: Before | None,
    sender: Sender,
    now: float,
) -> Notification:
    """The notification for one receiver."""
    incident = told.incident
    if isinstance(state, PoolerState):
        situation = describe_pooler(state, now, pool_of(incident.alerts))
    else:
        situation = describe(state, before, now)
    resolution = _resolution(told, now) if told.transition is Transition.RESOLVED else None
    labels = {
        **sender.labels,
        "server": incident.server,
        "family": incident.family,
        "severity": told.severity.value,
    }
    return Notification(
        incident=incident.id,
        server=incident.server,
        family=incident.family,
        severity=told.severity,
        transition=told.transition,
        at=now,
        opened_at=incident.opened_at,
        dedup_key=dedup_key(sender.install_id, incident.server, incident.family),
        headline=_headline(told, situation, resolution, state),
        labels=labels,
        alerts=tuple(_line(alert, state) for alert in incident.alerts),
        situation=situation,
        resolution=resolution,
        source=sender.source,
        link=sender.link,
        flapping=told.flapping,
    )


def describe(state: ServerState, before: Before | None, now: float, top: int = TOP) -> Situation:
    """What the server looks like, as of its last good snapshot."""
    failure = failure_words(state.failure)
    snapshot = state.snapshot
    if snapshot is None:
        return Situation(failure=failure)
    limits, used, activity = snapshot.facts.limits, snapshot.used, snapshot.activity
    rate, time_left = _outlook(state, snapshot)
    found = holders(activity, dict(before.holdings) if before is not None else None)
    return Situation(
        used=used,
        usable=limits.usable,
        arithmetic=arithmetic(used, limits.usable, limits.max_connections, limits.reserved),
        rate=rate,
        time_left=time_left,
        states=count_by(activity.clients, lambda group: group.state or "unknown"),
        holders=found[:top],
        top_role=top_role(found),
        growers=growers(found),
        growth_window_seconds=before.seconds if before is not None else 0.0,
        idle_transaction=oldest_idle_transaction(activity),
        limits=limit_lines(snapshot, top),
        blockers=roots(snapshot.blockers)[:top],
        behind=state.attributed.lasting(now, snapshot.taken_at, activity)[:top]
        if state.attributed
        else (),
        waiting=sum(group.backends for group in activity.clients if group.waiting),
        data_age_seconds=max(0.0, now - snapshot.taken_at),
        failure=failure,
    )


def _outlook(state: ServerState, snapshot: Snapshot) -> tuple[str, str]:
    """How fast the count moves, and what time is left at that very rate."""
    free = snapshot.facts.limits.free(snapshot.used)
    if free == 0:
        return _growth(state), "no usable slot left"
    left = next((state.forecasts[each] for each in WINDOWS if each in state.forecasts), None)
    if left is None:
        return _growth(state), ""
    # Each window has a slope of its own: that of another would contradict the time.
    return rate_words(free / left if left > 0 else None), f"full in {about_words(left)}"


def _growth(state: ServerState) -> str:
    """The rate of the last seconds; nothing where only a slot or so came or went in them."""
    growth = state.growth_per_second or 0.0
    moved = abs(growth) * state.growth_window_seconds >= LEAST_MOVED
    return rate_words(growth) if moved else ""


def _resolution(told: Told, now: float) -> Resolution:
    """What it came to; it lasted as long as it was so, and not as long as it was kept firing."""
    incident, ceased_at = told.incident, told.ceased_at
    return Resolution(
        duration_seconds=max(0.0, (now if ceased_at is None else ceased_at) - incident.opened_at),
        peak_used=incident.peak_used,
        peak_usable=incident.peak_usable,
        least_free=incident.least_free,
        refused=incident.refused,
    )


def _line(alert: Alert, state: ServerState | PoolerState) -> AlertLine:
    annotations = alert.annotations
    return AlertLine(
        alertname=alert.rule,
        severity=alert.severity,
        summary=summary_of(alert, state),
        description=description_of(alert, state),
        runbook_url=annotations.get("runbook_url", ""),
        action=RESUME if held_up(alert, state) else annotations.get("action", ""),
    )


def _limit(incident: Incident, state: ServerState | PoolerState) -> list[str]:
    """Words for the limit of a role or database that the incident is about."""
    if incident.family != "limits" or isinstance(state, PoolerState) or state.snapshot is None:
        return []
    return limit_words(incident.alerts, state.snapshot)


def _headline(
    told: Told,
    situation: Situation,
    resolution: Resolution | None,
    state: ServerState | PoolerState,
) -> str:
    """Severity, server, number, time left, who: as much as stands in 80 characters."""
    incident = told.incident
    head = _head(told)
    if resolution is not None:
        parts = [f"RESOLVED {incident.server}", *_resolved_words(incident, resolution)]
    elif incident.family == "connections" and situation.used is not None:
        parts = [f"{head} {incident.server}", *_slot_words(situation)]
    elif words := _limit(incident, state) or paused_words(incident.alerts, state):
        parts = [f"{head} {incident.server}", *words]
    else:
        summary = summary_of(incident.alerts[0], state) if incident.alerts else ""
        text = summary or incident.family.replace("_", " ")
        if incident.family.partition(":")[0] in UNSEEN and state.failure is not None:
            text = f"{text}: {reason_words(state.failure.message)}"
        parts = [
            f"{head} {text}" if incident.server in text else f"{head} {incident.server}: {text}"
        ]
    return fitted(parts)


def _head(told: Told) -> str:
    """How urgent, and whether it is news."""
    still = "STILL " if told.transition is Transition.REPEATED and not told.flapping else ""
    return f"{still}{told.severity.upper()}{' FLAPPING' if told.flapping else ''}"


def _slot_words(situation: Situation) -> list[str]:
    used, usable = situation.used or 0, situation.usable or 1
    parts = [f"{used}/{usable} slots"]
    if situation.time_left:
        parts.append(situation.time_left.replace("about ", "~"))
    if situation.top_role is not None:
        parts.append(role_words(situation.top_role))
    elif situation.holders:
        top = situation.holders[0]
        parts.append(f"{top.application_name or top.usename or 'unnamed'} holds {top.used}")
    return [*parts, f"{percent(used, usable)} used"]


def _resolved_words(incident: Incident, resolution: Resolution) -> list[str]:
    parts = [
        f"{incident.family.replace('_', ' ')} after {duration_words(resolution.duration_seconds)}"
    ]
    if resolution.peak_used is not None:
        parts.append(f"peak {resolution.peak_used}/{resolution.peak_usable} slots")
    return [*parts, _refusals(resolution)]


def _refusals(resolution: Resolution) -> str:
    """Whether clients were refused; between two probes they may be, and nobody sees it."""
    if resolution.refused:
        return "clients were refused"
    return "the slots ran out" if resolution.least_free == 0 else "none seen refused"


def fitted(parts: list[str], most: int = HEADLINE) -> str:
    """`parts` after one another as long as they fit; only the first is ever cut.

    >>> fitted(["CRITICAL prod", "83/97 slots", "full in ~20 s"])
    'CRITICAL prod: 83/97 slots, full in ~20 s'
    >>> fitted(["a" * 30, "b" * 20], most=40)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    """
    text = " ".join(parts[0].split())
    if len(text) > most:
        return text[: most - 1] + "…"
    for index, part in enumerate(parts[1:]):
        longer = f"{text}{', ' if index else ': '}{' '.join(part.split())}"
        if len(longer) > most:
            break
        text = longer
    return text
