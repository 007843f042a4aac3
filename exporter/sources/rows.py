r"""From rows of the SQL files to values; pure.

The session's encoding is SQL_ASCII, so texts arrive as the bytes that the server stores. Names may
be in any encoding: UTF-8 is shown as it is, other bytes as `\xe9`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from exporter.snapshot.activity import Activity, BackendGroup
from exporter.snapshot.attribution import HeldBackend
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.blockers import blockers as chain_of
from exporter.snapshot.providers import Reserve
from exporter.snapshot.server import ServerFacts, SessionCounters
from exporter.snapshot.slots import Limits

Row = tuple[Any, ...]

#: Where sql/activity.sql packs milliseconds above a pid.
_PID_BITS = 22
_DATID, _USESYSID, _AT, _PRIVILEGED, _OWN_PID, _IN_RECOVERY = 0, 1, 13, 14, 15, 16
#: To seconds, for the units in which pg_settings has times.
#: Units of settings: what their names end in, and the factor.
_UNITS = {
    "ms": ("_seconds", 0.001),
    "s": ("_seconds", 1.0),
    "min": ("_seconds", 60.0),
    "B": ("_bytes", 1.0),
}


@dataclass(frozen=True, slots=True)
class Names:
    """Names by oid; by name, the connection limits that hold and all of them as written."""

    databases: Mapping[int, str] = field(default_factory=dict)
    roles: Mapping[int, str] = field(default_factory=dict)
    database_limits: Mapping[str, int] = field(default_factory=dict)
    role_limits: Mapping[str, int] = field(default_factory=dict)
    datconnlimit: Mapping[str, int] = field(default_factory=dict)
    rolconnlimit: Mapping[str, int] = field(default_factory=dict)

    def knows(self, rows: Iterable[Row]) -> bool:
        """Whether every database and role in rows of sql/activity.sql has a name here."""
        return all(
            (row[_DATID] is None or row[_DATID] in self.databases)
            and (row[_USESYSID] is None or row[_USESYSID] in self.roles)
            for row in rows
        )


@lru_cache(maxsize=4096)  # the same few come with every row of every poll
def text(raw: bytes | None) -> str:
    r"""`raw` as people read it, "" for NULL.

    >>> text(b"caf\xe9")
    'caf\\xe9'
    """
    return "" if raw is None else raw.decode("utf-8", "backslashreplace")


def privileged(rows: list[Row]) -> bool:
    """Whether rows of sql/activity.sql show every backend in full; our own is always among them."""
    return bool(rows) and bool(rows[0][_PRIVILEGED])


def own_pid(rows: list[Row]) -> int:
    """The process that made rows of sql/activity.sql, as the server calls it."""
    return int(rows[0][_OWN_PID])


def role(rows: list[Row]) -> str:
    """`primary` or `standby`, by rows of sql/activity.sql."""
    return "standby" if rows[0][_IN_RECOVERY] else "primary"


def activity(rows: list[Row], names: Names) -> Activity:
    """Rows of sql/activity.sql; an oid without a name is shown as `(oid 16384)`."""
    groups = tuple(_group(row, names.databases, names.roles) for row in rows)
    return Activity(rows[0][_AT], groups)


def _group(row: Row, databases: Mapping[int, str], roles: Mapping[int, str]) -> BackendGroup:
    (datid, usesysid, application_name, client_addr, state, wait_event_type, wait_event) = row[:7]
    (backend_type, backends, oldest, xact_age, query_age, stale) = row[7:13]
    oldest_pid = None if oldest is None else oldest & ((1 << _PID_BITS) - 1)
    return BackendGroup(
        "" if datid is None else databases.get(datid) or f"(oid {datid})",
        "" if usesysid is None else roles.get(usesysid) or f"(oid {usesysid})",
        text(application_name),
        text(client_addr),
        text(state),
        text(wait_event_type),
        text(wait_event),
        text(backend_type),
        backends,
        # What began after our statement did is new, not of a negative age.
        None if oldest is None else max(0.0, (oldest >> _PID_BITS) / 1000),
        None if xact_age is None else max(0.0, xact_age),
        None if query_age is None else max(0.0, query_age),
        oldest_pid,
        stale,
        # Ours is alone in its group, but for another pgheadroom that asks in the same instant.
        oldest_pid == row[_OWN_PID],
    )


def blockers(found: list[Row], known: Names) -> tuple[Blocker, ...]:
    """Rows of sql/blockers.sql, less those whom nobody waits for."""
    named = (_blocker(row, known) for row in found)
    return chain_of(named, {row[0]: row[-1] for row in found if row[-1]})


def _blocker(row: Row, known: Names) -> Blocker:
    pid, datid, usesysid, application_name, client_addr, state, xact_age, state_age = row[:8]
    return Blocker(
        pid,
        "" if usesysid is None else known.roles.get(usesysid) or f"(oid {usesysid})",
        text(application_name),
        "" if datid is None else known.databases.get(datid) or f"(oid {datid})",
        text(client_addr),
        text(state),
        None if xact_age is None else max(0.0, xact_age),
        None if state_age is None else max(0.0, state_age),
    )


def held(found: list[Row], known: Names) -> tuple[HeldBackend, ...]:
    """Rows of sql/held.sql."""
    return tuple(
        HeldBackend(
            pid,
            backend_start,
            xact_start,
            max(0.0, seconds),
            "" if datid is None else known.databases.get(datid) or f"(oid {datid})",
            "" if usesysid is None else known.roles.get(usesysid) or f"(oid {usesysid})",
            text(application_name),
            text(client_addr),
            client_port,
            text(state),
        )
        for (
            pid, datid, usesysid, application_name, client_addr, client_port, state,
            backend_start, xact_start, seconds,
        ) in found
    )  # fmt: skip


def names(databases: list[Row], roles: list[Row]) -> Names:
    """Rows of sql/databases.sql and sql/roles.sql."""
    return Names(
        {oid: text(name) for oid, name, _ in databases},
        {oid: text(name) for oid, name, _, _ in roles},
        {text(name): limit for _, name, limit in databases if limit >= 0},
        {text(name): limit for _, name, limit, _ in roles if limit >= 0},
        {text(name): limit for _, name, limit in databases},
        {text(name): limit for _, name, _, limit in roles},
    )


def parameters(found: list[Row]) -> dict[str, float]:
    """Rows of sql/parameters.sql by name; times are in seconds, and names end in the unit.

    -1, which stands for "as another setting" or "none", has no unit.

    >>> parameters([(b"max_connections", b"100", None), (b"lock_timeout", b"250", b"ms")])
    {'max_connections': 100.0, 'lock_timeout_seconds': 0.25}
    >>> parameters([(b"track_activity_query_size", b"1024", b"B")])
    {'track_activity_query_size_bytes': 1024.0}
    """
    result = {}
    for name, value, unit in found:
        ending, scale = _UNITS.get(text(unit), ("", 1.0))
        number = float(value)
        result[text(name) + ending] = number * scale if number > 0 else number
    return result


def facts(
    settings: Row, found: Mapping[str, float], known: Names, reserve: Reserve, server_role: str
) -> ServerFacts:
    """The row of sql/settings.sql, with the `parameters` and the limits of `known`.

    Args:
        settings: the row.
        found: what `parameters` made.
        known: what `names` made.
        reserve: what the provider holds back.
        server_role: what `role` made of the last poll.
    """
    version, version_num, most, superuser_reserved, reserved, tracks = settings[:6]
    version_text, started_at, rds = settings[6:]
    beyond = reserve.beyond(superuser_reserved + reserved, rds, version_num)
    return ServerFacts(
        version=text(version).split()[0],
        version_num=version_num,
        role=server_role,
        limits=Limits(most, superuser_reserved, reserved, beyond),
        role_limits=known.role_limits,
        database_limits=known.database_limits,
        track_activities=tracks,
        version_text=text(version_text),
        started_at=started_at,
        settings=found,
        datconnlimit=known.datconnlimit,
        rolconnlimit=known.rolconnlimit,
    )


def counters(rows: list[Row]) -> SessionCounters:
    """Rows of sql/counters.sql, summed over the databases; None where the server has none (13)."""
    sessions, abandoned, fatal, killed = (_sum(row[at] for row in rows) for at in range(3, 7))
    numbackends = {(str(row[0]), text(row[1])): row[2] for row in rows}
    tup_fetched = {(str(row[0]), text(row[1])): row[7] for row in rows}
    return SessionCounters(sessions, abandoned, fatal, killed, numbackends, tup_fetched)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
