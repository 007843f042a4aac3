"""Limits of roles and databases, which can bind long before the server's own."""

from __future__ import annotations

from exporter.alerting.alerts import Alert
from exporter.alerting.words import percent
from exporter.snapshot.server import LimitUse, Snapshot

#: A limit with less of it in use is not what somebody will run into next.
_NEAR = 0.70


def limit_lines(snapshot: Snapshot, most: int) -> tuple[str, ...]:
    """The limits that are nearly used up, the fullest first: "role app: 46 of 50, 92 %"."""
    uses = [
        *(("role", use) for use in snapshot.role_use()),
        *(("database", use) for use in snapshot.database_use()),
    ]
    near = [(kind, use) for kind, use in uses if use.used >= _NEAR * max(1, use.limit)]
    near.sort(key=lambda each: -each[1].used / max(1, each[1].limit))
    return tuple(
        f"{kind} {use.name}: {use.used} of {use.limit}, {percent(use.used, use.limit)}"
        for kind, use in near[:most]
    )


def limit_words(alerts: tuple[Alert, ...], snapshot: Snapshot) -> list[str]:
    """Parts of a headline: the limit that the first alert is about, and who uses most of it.

    Nothing where the alert names no limit that there still is.
    """
    for alert in alerts:
        for kind, label in (("role", "usename"), ("database", "datname")):
            use = _named(snapshot, label, alert.labels.get(label, ""))
            if use is not None:
                share = f"{use.used}/{use.limit} connections of {kind} {use.name}"
                return [share, *_top(snapshot, label, use.name), percent(use.used, use.limit)]
    return []


def _named(snapshot: Snapshot, label: str, name: str) -> LimitUse | None:
    uses = snapshot.role_use() if label == "usename" else snapshot.database_use()
    return next((use for use in uses if use.name == name), None)


def _top(snapshot: Snapshot, label: str, name: str) -> list[str]:
    """The application with most of them, where it is not all of them under no name."""
    counts: dict[str, int] = {}
    for group in snapshot.activity.clients:
        if getattr(group, label) == name:
            counts[group.application_name] = counts.get(group.application_name, 0) + group.backends
    application = max(counts, key=lambda each: counts[each], default="")
    return [f"{application} holds {counts[application]}"] if application else []
