"""Who keeps others waiting for locks, and how many of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Blocker:
    """A backend that others wait for, directly or behind one another.

    `pid` 0 is a prepared transaction, which no backend holds any more. Ages are seconds by the
    server's clock: of the transaction, and since `state_change`. `blocked` is at most what one
    reading asks about (sources/sql/blockers.sql).
    """

    pid: int
    usename: str
    application_name: str
    datname: str
    client_addr: str
    state: str
    transaction_seconds: float | None
    state_seconds: float | None
    blocked: int = 0
    root: bool = True
    """Whether it waits for nobody itself: the one to ask, or to end."""


def blockers(
    found: Iterable[Blocker], blocked_by: Mapping[int, Iterable[int]]
) -> tuple[Blocker, ...]:
    """Those of `found` that others wait for, with `blocked` and `root`, the most blocked first.

    Args:
        found: every backend that waits or is waited for.
        blocked_by: for each that waits, whom it waits for.
    """
    counts: Counter[int] = Counter()
    for pid in blocked_by:
        counts.update(_ahead(pid, blocked_by))
    named = (
        replace(each, blocked=counts[each.pid], root=not blocked_by.get(each.pid))
        for each in found
        if counts[each.pid]
    )
    return tuple(sorted(named, key=lambda each: (-each.blocked, each.pid)))


def _ahead(pid: int, blocked_by: Mapping[int, Iterable[int]]) -> set[int]:
    """All that must move before `pid` can, itself left out where they wait in a circle."""
    seen: set[int] = set()
    following = list(blocked_by[pid])
    while following:
        ahead = following.pop()
        if ahead not in seen:
            seen.add(ahead)
            following += blocked_by.get(ahead, ())
    return seen - {pid}


def roots(found: Iterable[Blocker]) -> tuple[Blocker, ...]:
    """The blockers at the heads of the queues; all of them where they wait in a circle."""
    known = tuple(found)
    return tuple(each for each in known if each.root) or known
