"""A pooler's part of the page: its pools, and who waits in them."""

from __future__ import annotations

from html import escape

from exporter.alerting.board import PoolerEntry
from exporter.alerting.notification import Situation
from exporter.alerting.pooler_message import describe_pooler
from exporter.alerting.words import duration_words, percent
from exporter.snapshot.pool import PoolerSnapshot, PoolUse
from exporter.snapshot.pooler import PoolerState, by_need
from exporter.web.parts import alerts, failure, heading, table

MOST_POOLS = 20
_OLD_SECONDS = 30


def pooler(entry: PoolerEntry, now: float) -> str:
    """The part of one pooler."""
    state = entry.state
    situation = describe_pooler(state, now, top=10)
    parts = [heading(entry, _title(state)), failure(entry, situation)]
    parts += [f"<p>{escape(warning)}</p>" for warning in state.warnings]
    if state.snapshot is not None:
        parts += [_facts(state, situation), _pools(state.snapshot), _waiting(situation)]
    elif not situation.failure:
        parts.append("<p>not polled yet</p>")
    return "".join([*parts, alerts(entry.book, state)])


def _title(state: PoolerState) -> str:
    behind = f" in front of {state.server}" if state.server != state.pooler else ""
    version = f" {state.snapshot.facts.version}" if state.snapshot is not None else ""
    return f"{state.pooler}, PgBouncer{version}{behind}"


def _facts(state: PoolerState, situation: Situation) -> str:
    waits = (f"{name} {seconds * 1000:.3g} ms" for name, seconds in state.waits.items() if seconds)
    listed = ", ".join(waits)
    age = situation.data_age_seconds or 0.0
    facts = [
        situation.arithmetic,
        ", ".join(f"{count} {what}" for what, count in situation.states.items()),
        f"a client waits each time: {listed}" if listed else "",
        f"may open {state.capacity} server connections" if state.capacity is not None else "",
        f"data is {duration_words(age)} old" if situation.failure or age > _OLD_SECONDS else "",
    ]
    return f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>"


def _pools(snapshot: PoolerSnapshot) -> str:
    uses = by_need(snapshot)[:MOST_POOLS]
    if not uses:
        return ""
    heads = ("database", "user", "in use", "of", "share", "waiting", "longest wait", "mode")
    return table(heads, (_pool(use) for use in uses))


def _pool(use: PoolUse) -> tuple[object, ...]:
    pool = use.pool
    wait = f"{pool.wait_seconds:.1f} s" if pool.wait_seconds else ""
    share = percent(use.used, use.limit)
    numbers = (use.used, use.limit, share, pool.cl_waiting or 0)
    return pool.database, pool.user, *numbers, wait, pool.pool_mode


def _waiting(situation: Situation) -> str:
    if not situation.applications_waiting:
        return ""
    rows = (
        (each.application_name or "-", each.usename, each.datname, each.used)
        for each in situation.applications_waiting
    )
    return table(("waiting application", "user", "database", "clients"), rows)
