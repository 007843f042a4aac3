"""An incident as alerts with labels and annotations, as Alertmanager and its webhooks have them.

Labels are an alert's identity there: nothing that changes while it is open may be one of them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from exporter.alerting.notification import AlertLine, Notification
from exporter.notify import words

#: No annotation needs more, and a list of holders must not fill a message.
_CHARACTERS = 2000


def rfc3339(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, to the millisecond.

    >>> rfc3339(0.25)
    '1970-01-01T00:00:00.250Z'
    """
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def incident_name(family: str) -> str:
    """The `alertname` of a family: the rules that fire come and go, this stays.

    >>> incident_name("idle_in_transaction"), incident_name("pool_waiting:pgb-1")
    ('PgheadroomIdleInTransaction', 'PgheadroomPoolWaiting')
    """
    subject = family.partition(":")[0]
    return "Pgheadroom" + "".join(w.capitalize() for w in re.split(r"[^A-Za-z0-9]+", subject) if w)


def incident_labels(notification: Notification) -> dict[str, str]:
    """The labels of an incident at one severity: the server's own, and what it is about."""
    found = {
        **notification.labels,
        "alertname": incident_name(notification.family),
        "server": notification.server,
        "family": notification.family,
        "severity": notification.severity.value,
    }
    return {name: value for name, value in found.items() if value}


def rule_labels(notification: Notification, line: AlertLine) -> dict[str, str]:
    """The labels of one rule's alert within an incident."""
    own = {"alertname": line.alertname, "severity": line.severity.value}
    return {**incident_labels(notification), **own}


def incident_annotations(
    notification: Notification, *, addresses: bool, minimal: bool = False
) -> dict[str, str]:
    """What is known of an incident now, in words; `minimal` is its headline alone."""
    found = {"summary": words.headline(notification, 200)}
    if not minimal:
        found |= _details(notification, addresses=addresses)
    return {name: text[:_CHARACTERS] for name, text in found.items() if text}


def rule_annotations(
    notification: Notification, line: AlertLine, common: dict[str, str]
) -> dict[str, str]:
    """The annotations of one rule's alert: the incident's, and the rule's own over them."""
    own = {
        "headline": words.headline(notification, 200),
        "summary": words.plain(line.summary, 1000),
        "description": words.plain(line.description, _CHARACTERS),
        "runbook_url": line.runbook_url if words.is_link(line.runbook_url) else "",
        "action": words.plain(line.action, 1000),
    }
    return {**common, **{name: text for name, text in own.items() if text}}


def _details(notification: Notification, *, addresses: bool) -> dict[str, str]:
    situation = notification.situation
    idle = situation.idle_transaction
    runbooks = words.runbooks(notification)
    resolution = notification.resolution
    return {
        "description": "\n".join(dict.fromkeys(a.description for a in notification.alerts)),
        "alerts": ", ".join(words.alert_names(notification)),
        "action": "\n".join(words.actions(notification)),
        "runbook_url": runbooks[0] if runbooks else "",
        "arithmetic": situation.arithmetic,
        "outlook": words.outlook(situation),
        "states": words.states_line(situation),
        "limits": words.limits_line(situation),
        "holders": "\n".join(words.holder_lines(situation, words.as_is, addresses=addresses)),
        "waiting_applications": "\n".join(words.waiting_lines(situation, words.as_is)),
        "growers": "\n".join(words.grower_lines(situation, words.as_is)),
        "oldest_idle_transaction": words.idle_line(idle, words.as_is, addresses=addresses)
        if idle
        else "",
        "behind_the_pooler": "\n".join(
            words.behind_lines(situation, words.as_is, addresses=addresses)
        ),
        "blockers": "\n".join(words.blocker_lines(situation, words.as_is, addresses=addresses)),
        "data": "\n".join(words.doubts(situation)),
        "resolution": "\n".join(words.resolution_lines(resolution)) if resolution else "",
        "source": words.plain(notification.source, 200),
    }
