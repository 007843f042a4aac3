"""A snapshot as JSON, to be republished after a restart while the server refuses our login."""

from __future__ import annotations

import json
from typing import Any

from exporter.snapshot.activity import Activity, BackendGroup
from exporter.snapshot.compact import compact_json
from exporter.snapshot.history import History, Sample
from exporter.snapshot.server import ServerFacts, SessionCounters, Snapshot
from exporter.snapshot.slots import Limits


def snapshot_to_json(snapshot: Snapshot) -> str:
    """Text from which `snapshot_from_json` makes the snapshot again, less numbackends."""
    sessions = snapshot.sessions
    raw = {
        "taken_at": snapshot.taken_at,
        "poll_seconds": snapshot.poll_seconds,
        "at": snapshot.activity.at,
        "columns": BackendGroup._fields,
        "groups": snapshot.activity.groups,
        "facts": snapshot.facts,
        "sessions": sessions
        and [sessions.sessions, sessions.abandoned, sessions.fatal, sessions.killed],
    }
    return compact_json(raw)


def snapshot_from_json(text: str) -> Snapshot:
    """The snapshot that `snapshot_to_json` wrote.

    Raises:
        ValueError: `text` is not one.
    """
    try:
        return _snapshot(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a snapshot: {error!r}") from error


def _snapshot(raw: dict[str, Any]) -> Snapshot:
    facts, columns = raw["facts"], raw["columns"]
    groups = tuple(
        BackendGroup(**dict(zip(columns, values, strict=True))) for values in raw["groups"]
    )
    return Snapshot(
        taken_at=raw["taken_at"],
        poll_seconds=raw["poll_seconds"],
        activity=Activity(raw["at"], groups),
        facts=ServerFacts(**(facts | {"limits": Limits(**facts["limits"])})),
        sessions=SessionCounters(*raw["sessions"]) if raw["sessions"] else None,
    )


def history_to_json(history: History) -> str:
    """Text from which `history_from_json` makes the ring again, to a tenth of a second."""
    return compact_json([(round(each.at, 1), each.used) for each in history])


def history_from_json(text: str, now: float) -> History:
    """The ring that `history_to_json` wrote, less what lies in the future of `now`.

    The clock may have been ahead before the restart, and a ring takes nothing older than its last.

    Raises:
        ValueError: `text` is not one.
    """
    try:
        return History(Sample(float(at), int(used)) for at, used in json.loads(text) if at <= now)
    except TypeError as error:
        raise ValueError(f"not a history: {error!r}") from error
