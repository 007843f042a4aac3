"""Who holds the slots."""

from __future__ import annotations

from exporter.metrics.caps import OTHER, folded
from exporter.metrics.families import Builder
from exporter.metrics.view import View, Who, who_of
from exporter.snapshot.activity import count_by

OTHER_WHO: Who = (OTHER, OTHER, OTHER)


def add_who(builder: Builder, view: View) -> None:
    """Add the holders; their sum is `pgheadroom_connections_used`."""
    named = view.caps.who.named(count_by(view.clients, who_of), view.now)
    counts = count_by(
        view.clients, lambda g: (who_of(g) if who_of(g) in named else OTHER_WHO, g.state)
    )
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


def add_addresses(builder: Builder, view: View) -> None:
    """Add the client addresses, where they are read."""
    counts = count_by((g for g in view.clients if g.client_addr), lambda g: g.client_addr)
    named = view.caps.client_addrs.named(counts, view.now)
    for address, backends in folded(counts, named, OTHER).items():
        builder.gauge(
            "pgheadroom_client_connections",
            "Client backends by address; off with client_addresses: false.",
            backends,
            client_addr=address,
        )
