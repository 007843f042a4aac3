"""Notifications for tests to send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from exporter.alerting.notification import (
    AlertLine,
    Notification,
    Resolution,
    Severity,
    Situation,
    Transition,
)
from exporter.snapshot.holders import Holder, IdleTransaction

SITUATION = Situation(
    used=83,
    usable=97,
    arithmetic="83 of 97 usable slots, 86 %; max 100, 3 reserved",
    rate="+2.6 a second",
    time_left="full in under 10 s at the current rate",
    states={"active": 51, "idle": 30, "idle in transaction": 2},
    holders=(
        Holder("checkout", "app", "shop", 60, 41, "10.0.0.7", 12),
        Holder("reports", "bi", "shop", 20, 0, "10.0.0.9", 1),
    ),
    growers=(Holder("checkout", "app", "shop", 60, 41),),
    growth_window_seconds=60,
    idle_transaction=IdleTransaction(424, 4711, "worker", "app", "shop", "10.0.0.8"),
    waiting=4,
)
ALERT = AlertLine(
    "PgHeadroomSlotsCritical",
    Severity.CRITICAL,
    "86 % of the usable slots are used",
    "pg-prod-1 uses 83 of 97 usable slots.",
    "https://example.com/runbooks/slots?a=1&b=2",
    "Find what grows and stop it; do not raise max_connections.",
)


def notification(
    transition: Transition = Transition.OPENED, incident: str = "one", **changes: Any
) -> Notification:
    """A critical page about pg-prod-1, with everything in it."""
    resolved = transition is Transition.RESOLVED
    made = Notification(
        incident=incident,
        server="pg-prod-1",
        family="connections",
        severity=Severity.CRITICAL,
        transition=transition,
        at=1_700_000_100.5,
        opened_at=1_700_000_000.0,
        dedup_key=f"key-{incident}",
        headline=f"pg-prod-1: 83/97 slots used ({incident}, {transition})",
        labels={"env": "prod"},
        alerts=(ALERT,),
        situation=SITUATION,
        resolution=Resolution(185, 97, 97, 0, refused=True) if resolved else None,
        source="watcher-1, pgheadroom 0.1.0",
        link="https://pgheadroom.example.com/",
    )
    return replace(made, **changes)
