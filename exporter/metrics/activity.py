"""The series that say who holds the slots, and what they wait for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporter.metrics.caps import OTHER, Cap, folded
from exporter.metrics.families import Builder
from exporter.snapshot.activity import ACTIVE, Activity, BackendGroup, count_by

Who = tuple[str, str, str]
OTHER_WHO: Who = (OTHER, OTHER, OTHER)


@dataclass(frozen=True, slots=True)
class Caps:
    """One server's bounds on label values that clients choose."""

    who: Cap[Who] = field(default_factory=Cap)
    client_addrs: Cap[str] = field(default_factory=Cap)


def add_activity(builder: Builder, activity: Activity, caps: Caps, now: float) -> None:
    """Add every series of `activity`; those of one group sum to `pgheadroom_connections_used`."""
    clients = activity.clients
    _add_who(builder, clients, caps, now)
    _add_addresses(builder, clients, caps, now)
    _add_waits(builder, clients)
    _add_clocks(builder, clients)


def _who(group: BackendGroup) -> Who:
    return group.datname, group.usename, group.application_name


def _add_who(builder: Builder, clients: tuple[BackendGroup, ...], caps: Caps, now: float) -> None:
    named = caps.who.named(count_by(clients, _who), now)
    counts = count_by(clients, lambda g: (_who(g) if _who(g) in named else OTHER_WHO, g.state))
    for ((datname, usename, application_name), state), backends in counts.items():
        builder.gauge(
            "pgheadroom_connections",
            "Client backends by database, role, application and state.",
            backends,
            datname=datname,
            usename=usename,
            application_name=application_name,
            state=state,
        )


def _add_addresses(
    builder: Builder, clients: tuple[BackendGroup, ...], caps: Caps, now: float
) -> None:
    counts = count_by((g for g in clients if g.client_addr), lambda g: g.client_addr)
    for address, backends in folded(counts, caps.client_addrs.named(counts, now), OTHER).items():
        builder.gauge(
            "pgheadroom_client_connections",
            "Client backends by address; off with client_addresses: false.",
            backends,
            client_addr=address,
        )


def _add_waits(builder: Builder, clients: tuple[BackendGroup, ...]) -> None:
    events = count_by(clients, lambda g: (g.state, g.wait_event_type, g.wait_event))
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
        (g for g in clients if g.waiting), lambda g: (g.wait_event_type, g.wait_event)
    )
    for (wait_type, event), backends in waiting.items():
        builder.gauge(
            "pgheadroom_backends_waiting",
            "Active client backends held up by Lock, LWLock, IO, IPC, BufferPin or Extension.",
            backends,
            wait_event_type=wait_type,
            wait_event=event,
        )


def _add_clocks(builder: Builder, clients: tuple[BackendGroup, ...]) -> None:
    idle = [group for group in clients if group.idle_in_transaction]
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
        _oldest(group.transaction_age_seconds for group in clients),
    )
    add(
        "pgheadroom_query_oldest_seconds",
        "The age of the oldest running statement, since query_start; 0 where there is none.",
        _oldest(group.query_age_seconds for group in clients if group.state == ACTIVE),
    )
    add(
        "pgheadroom_blocked_backends",
        "Active client backends that wait for a heavyweight lock.",
        sum(g.backends for g in clients if g.waiting and g.wait_event_type == "Lock"),
    )
    add(
        "pgheadroom_connections_stale",
        "Client backends idle for longer than stale_after: frozen function containers.",
        sum(group.stale for group in clients),
    )


def _oldest(ages: Iterable[float | None]) -> float:
    return max((age for age in ages if age is not None), default=0.0)
