"""All series of one server."""

from __future__ import annotations

from exporter.metrics.activity import add_clocks, add_waits
from exporter.metrics.facts import add_info, add_limits, add_sessions
from exporter.metrics.families import Builder, Families
from exporter.metrics.headroom import add_forecast, add_headroom
from exporter.metrics.holders import add_addresses, add_who
from exporter.metrics.pools import add_pool_capacity
from exporter.metrics.view import Caps, Signal, View
from exporter.metrics.watcher import add_watcher, aged_families
from exporter.snapshot.server import ServerState

#: Everything that is made from a snapshot, in the order of the exposition.
SIGNALS: tuple[Signal, ...] = (
    add_headroom,
    add_forecast,
    add_who,
    add_addresses,
    add_waits,
    add_clocks,
    add_limits,
    add_sessions,
    add_pool_capacity,
    add_info,
)


def server_families(state: ServerState, caps: Caps, now: float) -> Families:
    """Every series of `state`. After a failed poll they are those of the last good one.

    Two ages depend on `now` (Unix seconds); `aged_families` makes them anew for a scrape.
    """
    builder = Builder(server=state.server)
    add_watcher(builder, state)
    if state.snapshot is not None:
        view = View(state, state.snapshot, state.snapshot.activity.clients, caps, now)
        for signal in SIGNALS:
            signal(builder, view)
    return (*aged_families(state, now), *builder.build())
