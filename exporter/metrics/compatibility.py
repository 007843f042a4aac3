"""The series of postgres_exporter, so that its dashboards and rules go on working.

Names, labels and meaning are those of https://github.com/prometheus-community/postgres_exporter
(0.19); they are made from the last poll, and every series has `server`. docs/migrating.md says
what else differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from exporter.metrics.caps import Cap
from exporter.metrics.families import Builder, Families
from exporter.metrics.peer_activity import add_activity
from exporter.metrics.view import Who
from exporter.snapshot.server import ServerState, SessionCounters, Snapshot

#: A release as numbers: "18.4", or "19beta1" before there is one.
_RELEASE = re.compile(r"(\d+)(?:\.(\d+))?")


def compatible_families(state: ServerState, polls: int, cap: Cap[Who], now: float) -> Families:
    """The series of one server. After a failed poll they are those of the last good one.

    Args:
        state: what is known of the server.
        polls: how often it has been polled; they stand where the peer counts its scrapes.
        cap: which (datname, usename, application_name) keep their names.
        now: Unix seconds, for the cap.
    """
    builder = Builder(server=state.server)
    _add_exporter(builder, state, polls)
    snapshot = state.snapshot
    if snapshot is not None:
        _add_server(builder, snapshot)
        _add_settings(builder, snapshot.facts.settings)
        add_activity(builder, snapshot, cap, now)
        _add_limits(builder, snapshot)
        if snapshot.sessions is not None:
            _add_databases(builder, snapshot.sessions)
    return builder.build()


def short_version(version: str) -> str:
    """The release in three numbers, as the peer has it.

    >>> short_version("18.4"), short_version("19beta1")
    ('18.4.0', '19.0.0')
    """
    found = _RELEASE.match(version)
    return f"{found[1]}.{found[2] or 0}.0" if found else version


def _add_exporter(builder: Builder, state: ServerState, polls: int) -> None:
    """Is the watcher seeing, in the peer's words."""
    builder.gauge("pg_up", "Whether the last poll saw the server.", float(state.up))
    builder.gauge(
        "pg_exporter_last_scrape_error", "1 while polls fail, 0 otherwise.", float(not state.up)
    )
    if state.snapshot is not None:
        builder.gauge(
            "pg_exporter_last_scrape_duration_seconds",
            "What the last good poll took.",
            state.snapshot.poll_seconds,
        )
    builder.counter("pg_exporter_scrapes_total", "Polls of the server.", polls)


def _add_server(builder: Builder, snapshot: Snapshot) -> None:
    facts = snapshot.facts
    builder.untyped(
        "pg_static",
        "Always 1; the labels say what the server is.",
        1,
        version=facts.version_text,
        short_version=short_version(facts.version),
    )
    builder.gauge(
        "pg_postmaster_start_time_seconds",
        "When the server was started, Unix seconds.",
        facts.started_at,
    )


def _add_settings(builder: Builder, settings: Mapping[str, float]) -> None:
    for name, value in settings.items():
        plain, _, unit = name.rpartition("_")
        words = f"{plain}, in {unit}" if unit in {"seconds", "bytes"} else name
        builder.gauge(f"pg_settings_{name}", f"The setting {words}.", value)


def _add_limits(builder: Builder, snapshot: Snapshot) -> None:
    for datname, limit in snapshot.facts.datconnlimit.items():
        builder.gauge(
            "pg_database_connection_limit",
            "The database's CONNECTION LIMIT; -1 is none.",
            limit,
            datname=datname,
        )
    for rolname, limit in snapshot.facts.rolconnlimit.items():
        builder.gauge(
            "pg_roles_connection_limit",
            "The role's CONNECTION LIMIT; -1 is none.",
            limit,
            rolname=rolname,
        )


def _add_databases(builder: Builder, sessions: SessionCounters) -> None:
    for (datid, datname), backends in sessions.numbackends.items():
        builder.gauge(
            "pg_stat_database_numbackends",
            "Backends connected to the database, of any kind.",
            backends,
            datid=datid,
            datname=datname,
        )
    for (datid, datname), fetched in sessions.tup_fetched.items():
        # A counter whose name does not end in _total cannot be written as one by our library.
        builder.untyped(
            "pg_stat_database_tup_fetched",
            "Rows fetched; here because dashboards list the databases by it.",
            fetched,
            datid=datid,
            datname=datname,
        )
