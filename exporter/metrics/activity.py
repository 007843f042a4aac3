"""What the client backends do: wait, hold transactions open, or nothing for a long time."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.metrics.families import Builder
from exporter.metrics.view import View
from exporter.snapshot.activity import ACTIVE, count_by


def add_waits(builder: Builder, view: View) -> None:
    """Add every wait event, and those that hold work up."""
    events = count_by(view.clients, lambda g: (g.state, g.wait_event_type, g.wait_event))
    for (state, wait_type, event), backends in events.items():
        builder.gauge(
            "pgheadroom_wait_events",
            "Client backends by state and wait event; idle ones wait in Client/ClientRead.",
            backends,
            state=state,
            wait_event_type=wait_type,
            wait_event=event,
        )
    waiting = count_by(
        (g for g in view.clients if g.waiting), lambda g: (g.wait_event_type, g.wait_event)
    )
    for (wait_type, event), backends in waiting.items():
        builder.gauge(
            "pgheadroom_backends_waiting",
            "Active client backends held up by Lock, LWLock, IO, IPC, BufferPin or Extension.",
            backends,
            wait_event_type=wait_type,
            wait_event=event,
        )


def add_clocks(builder: Builder, view: View) -> None:
    """Add the ages, each by its own clock, and the counts that go with them."""
    idle = [group for group in view.clients if group.idle_in_transaction]
    add = builder.gauge
    add(
        "pgheadroom_idle_in_transaction",
        "Client backends whose transaction is open while their client is silent.",
        sum(group.backends for group in idle),
    )
    add(
        "pgheadroom_idle_in_transaction_oldest_seconds",
        "The longest such silence, since state_change; 0 where there is none.",
        _oldest(group.state_age_seconds for group in idle),
    )
    add(
        "pgheadroom_transaction_oldest_seconds",
        "The age of the oldest transaction, since xact_start; 0 where there is none.",
        _oldest(group.transaction_age_seconds for group in view.clients),
    )
    add(
        "pgheadroom_query_oldest_seconds",
        "The age of the oldest running statement, since query_start; 0 where there is none.",
        _oldest(group.query_age_seconds for group in view.clients if group.state == ACTIVE),
    )
    add(
        "pgheadroom_blocked_backends",
        "Active client backends that wait for a heavyweight lock.",
        sum(g.backends for g in view.clients if g.waiting and g.wait_event_type == "Lock"),
    )
    add(
        "pgheadroom_connections_stale",
        "Client backends idle for longer than stale_after: frozen function containers.",
        sum(group.stale for group in view.clients),
    )


def _oldest(ages: Iterable[float | None]) -> float:
    return max((age for age in ages if age is not None), default=0.0)
