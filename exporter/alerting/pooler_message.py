"""What a notification says of a pooler: the pool, its arithmetic, and who waits in it."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.alerting.alerts import Alert
from exporter.alerting.notification import Situation
from exporter.alerting.words import failure_words, percent, pool_arithmetic
from exporter.snapshot.pool import PoolerSnapshot, PoolKey, PoolUse
from exporter.snapshot.pooler import PoolerState, waiting_applications, worst

TOP = 5


def pool_of(alerts: Iterable[Alert]) -> PoolKey | None:
    """The pool that the most severe alert names, None where it names none."""
    for alert in alerts:
        if {"database", "user"} <= alert.labels.keys():
            return alert.labels["database"], alert.labels["user"]
    return None


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
        behind=state.attributed.recent(now)[:top] if state.attributed else (),
        data_age_seconds=max(0.0, now - snapshot.taken_at),
        failure=failure,
    )


def _arithmetic(snapshot: PoolerSnapshot, use: PoolUse | None) -> str:
    parts = [pool_arithmetic(use)] if use is not None else []
    clients = snapshot.client_use()
    if clients is not None:
        share = percent(clients.used, clients.most)
        parts.append(f"{clients.used} of {clients.most} clients, {share}")
    return "; ".join(parts)


def _clients(snapshot: PoolerSnapshot) -> dict[str, int]:
    """Clients of all pools by what they do; active ones may have nothing to do."""
    active = sum(pool.cl_active or 0 for pool in snapshot.pools)
    waiting = sum(pool.cl_waiting or 0 for pool in snapshot.pools)
    return {"clients active": active, "clients waiting": waiting}
