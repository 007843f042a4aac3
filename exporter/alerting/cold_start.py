"""What to tell a pager after a start without state: incidents that an earlier process left open.

Their keys can be made again from the names alone, and a pager drops a resolve for what is not open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.alerting.board import Entry, PoolerEntry
from exporter.alerting.incidents import Incident, Incidents, dedup_key
from exporter.alerting.message import Sender
from exporter.alerting.notification import Notification, Severity, Situation, Transition
from exporter.rules.model import Rule


def families(rules: Iterable[Rule], pooler: str = "") -> tuple[str, ...]:
    """The families that incidents of an endpoint can have, each once."""
    found = dict.fromkeys(rule.family for rule in rules)
    return tuple(f"{family}:{pooler}" if pooler else family for family in found)


def families_of(entry: Entry | PoolerEntry, rules: Iterable[Rule]) -> tuple[str, ...]:
    """The families that incidents of `entry` can have."""
    return families(rules, entry.name if isinstance(entry, PoolerEntry) else "")


def muted_for(pagers: Sequence[str], incidents: Incidents) -> bool:
    """Whether something is open that one of `pagers` would know of if nothing muted it.

    An earlier process may have opened it there, and that it ended would not be true.
    """
    return any(
        telling.due is not None and telling.at is None
        for incident in incidents.values()
        for receiver, telling in incident.told.items()
        if receiver in pagers
    )


def forgotten(  # noqa: PLR0913, PLR0917  what the notifications are made of
    server: str,
    among: Iterable[str],
    incidents: Incidents,
    pagers: Sequence[str],
    sender: Sender,
    now: float,
) -> tuple[tuple[str, Notification], ...]:
    """(receiver, resolve) for each family of `among` that the pager knows no open incident of.

    Args:
        server: whom the incidents are about.
        among: its families.
        incidents: what is open now, by family; what a pager was told of it ends by itself.
        pagers: the receivers that know incidents by their key.
        sender: as in every notification.
        now: seconds of the steady clock.
    """
    told = {
        (family, receiver)
        for family, incident in incidents.items()
        for receiver, telling in incident.told.items()
        if telling.at is not None
    }
    return tuple(
        (pager, _resolve(server, family, sender, now))
        for family in among
        for pager in pagers
        if (family, pager) not in told
    )


def _resolve(server: str, family: str, sender: Sender, now: float) -> Notification:
    # No more urgent than anything else: what is open now is told first.
    severity = Severity.INFO
    labels = {"server": server, "family": family, "severity": severity.value}
    return Notification(
        incident=Incident(server, family, now, severity).id,
        server=server,
        family=family,
        severity=severity,
        transition=Transition.RESOLVED,
        at=now,
        opened_at=now,
        dedup_key=dedup_key(sender.install_id, server, family),
        headline=f"RESOLVED {server}: {family.replace('_', ' ')}, seen well after a cold start",
        labels={**sender.labels, **labels},
        alerts=(),
        situation=Situation(),
        source=sender.source,
        link=sender.link,
    )
