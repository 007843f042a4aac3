"""How many slots are used and left, and how soon none is left."""

from __future__ import annotations

from exporter.metrics.families import Builder
from exporter.metrics.view import View


def add_headroom(builder: Builder, view: View) -> None:
    """Add the slots."""
    used, limits = view.snapshot.used, view.snapshot.facts.limits
    add = builder.gauge
    add("pgheadroom_connections_used", "Client backends: slots in use.", used)
    add("pgheadroom_connections_max", "max_connections.", limits.max_connections)
    add(
        "pgheadroom_connections_usable",
        "max_connections less superuser_reserved_connections, reserved_connections"
        " and the provider's reserve.",
        limits.usable,
    )
    add("pgheadroom_connections_free", "Usable slots that are not taken.", limits.free(used))
    add(
        "pgheadroom_connections_used_ratio",
        "Slots in use over usable slots; may pass 1.",
        limits.used_ratio(used),
    )
    add(
        "pgheadroom_connections_max_used_ratio",
        "Slots in use over max_connections.",
        limits.max_used_ratio(used),
    )


def add_forecast(builder: Builder, view: View) -> None:
    """Add the rate, and the time left while the gates hold."""
    builder.gauge(
        "pgheadroom_connections_growth_per_second",
        "Slots taken per second, least squares over the page forecast's window.",
        view.state.growth_per_second,
    )
    for window, seconds in view.state.forecasts.items():
        builder.gauge(
            "pgheadroom_exhaustion_forecast_seconds",
            "Seconds until the usable slots run out at the current rate; absent while the"
            " window's gates do not hold.",
            seconds,
            window=window,
        )
