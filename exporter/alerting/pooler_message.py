"""What a notification says of a pooler: the pool, its arithmetic, and who waits in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.alerting.alerts import Alert
from exporter.alerting.notification import Situation
from exporter.alerting.words import failure_words, percent, pool_arithmetic, waiting_words
from exporter.snapshot.pool import PoolerSnapshot, PoolKey, PoolUse
from exporter.snapshot.pooler import PoolerState, waiting_applications, worst
from exporter.snapshot.server import ServerState

TOP = 5
RESUME = "Ask who paused it; RESUME on its console ends it."
"""The one thing to do about a pool whose database is paused, in the words of PoolerPaused."""


def pool_of(alerts: Iterable[Alert]) -> PoolKey | None:
    """The pool that the most severe alert names, None where it names none."""
    for alert in alerts:
        if {"database", "user"} <= alert.labels.keys():
            return alert.labels["database"], alert.labels["user"]
    return None


def held_up(alert: Alert, state: ServerState | PoolerState) -> bool:
    """Whether the alert is about a pool whose database is paused, whoever holds its connections."""
    if not isinstance(state, PoolerState) or state.snapshot is None:
        return False
    database, user = pool_of([alert]) or ("", "")
    return bool(user) and state.snapshot.paused().get(database, False)


def paused_words(alerts: Sequence[Alert], state: ServerState | PoolerState) -> list[str]:
    """Words for the pool that the incident is about, where its database is paused.

    Only where the alert that leads is about a database: another says something graver.
    """
    found = next((alert for alert in alerts if pool_of([alert])), None)
    if (
        found is None
        or "database" not in alerts[0].labels
        or not held_up(found, state)
        or not isinstance(state, PoolerState)
    ):
        return []
    pools = state.snapshot.pools if state.snapshot is not None else ()
    waits = [waiting_words(each) for each in pools if each.key == pool_of([found])]
    return [f"{found.labels['database']} is paused on {state.pooler}", *waits]


def describe_pooler(
    state: PoolerState, now: float, pool: PoolKey | None = None, top: int = TOP
) -> Situation:
    """What the pooler looks like, as of its last good snapshot.

    Args:
        state: what is known of it.
        now: seconds of the watcher's clock.
        pool: the one to tell of; the worst where it is None or no longer there.
        top: how many applications are named.
    """
    failure = failure_words(state.failure)
    snapshot = state.snapshot
    if snapshot is None:
        return Situation(failure=failure)
    uses = {use.pool.key: use for use in snapshot.pool_use()}
    use = uses.get(pool) if pool else None
    use = use or worst(snapshot)
    named = use.pool.key if use is not None and use.pool.cl_waiting else None
    return Situation(
        arithmetic=_arithmetic(snapshot, use),
        states=_clients(snapshot),
        applications_waiting=waiting_applications(snapshot, named)[:top],
        behind=state.attributed.lent(now, snapshot.pools)[:top] if state.attributed else (),
        data_age_seconds=max(0.0, now - snapshot.taken_at),
        failure=failure,
    )


def _arithmetic(snapshot: PoolerSnapshot, use: PoolUse | None) -> str:
    parts = [words] if (words := _paused(snapshot)) else []
    parts += [pool_arithmetic(use)] if use is not None else []
    clients = snapshot.client_use()
    if clients is not None:
        share = percent(clients.used, clients.most)
        parts.append(f"{clients.used} of {clients.most} clients, {share}")
    return "; ".join(parts)


def _paused(snapshot: PoolerSnapshot) -> str:
    """The databases whose clients a PAUSE or SUSPEND holds up, "" where none is."""
    names = [name for name, held in snapshot.paused().items() if held]
    more = f" and {len(names) - TOP} more" if len(names) > TOP else ""
    return f"paused: {', '.join(names[:TOP])}{more}" if names else ""


def _clients(snapshot: PoolerSnapshot) -> dict[str, int]:
    """Clients of all pools by what they do; active ones may have nothing to do."""
    active = sum(pool.cl_active or 0 for pool in snapshot.pools)
    waiting = sum(pool.cl_waiting or 0 for pool in snapshot.pools)
    return {"clients active": active, "clients waiting": waiting}
