"""What the server is, its sessions since the statistics were reset, and the limits of its own."""

from __future__ import annotations

from exporter.metrics.families import Builder
from exporter.metrics.view import View


def add_info(builder: Builder, view: View) -> None:
    """Add the version, the role and the start."""
    builder.gauge(
        "pgheadroom_server_info",
        "Always 1; the labels say what the server is.",
        1,
        version=view.snapshot.facts.version,
        role=view.snapshot.facts.role,
    )
    builder.gauge(
        "pgheadroom_server_start_time_seconds",
        "When the server's postmaster began, Unix seconds.",
        view.snapshot.facts.started_at,
    )


def add_sessions(builder: Builder, view: View) -> None:
    """Add the churn, where the server counts it (14 and later)."""
    sessions = view.snapshot.sessions
    if sessions is None:
        return
    for name, documentation, value in (
        ("sessions_total", "Sessions established.", sessions.sessions),
        ("sessions_abandoned_total", "Sessions whose client vanished.", sessions.abandoned),
        ("sessions_fatal_total", "Sessions ended by a fatal error.", sessions.fatal),
        ("sessions_killed_total", "Sessions ended by an operator.", sessions.killed),
    ):
        builder.counter(f"pgheadroom_{name}", documentation, value)


def add_limits(builder: Builder, view: View) -> None:
    """Add the use of every CONNECTION LIMIT that is set."""
    for ratio in view.snapshot.role_use():
        builder.gauge(
            "pgheadroom_role_connections_used_ratio",
            "A role's connections over its CONNECTION LIMIT, where one is set.",
            ratio.used / max(1, ratio.limit),
            usename=ratio.name,
        )
    for ratio in view.snapshot.database_use():
        builder.gauge(
            "pgheadroom_database_connections_used_ratio",
            "A database's connections over its CONNECTION LIMIT, where one is set.",
            ratio.used / max(1, ratio.limit),
            datname=ratio.name,
        )
