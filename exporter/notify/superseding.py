"""Which undelivered notifications are still worth sending; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.alerting.notification import Notification, Transition
from exporter.notify.digest import digest

MISSED = "Fired and cleared while undeliverable: "


@dataclass(frozen=True, slots=True)
class Pending:
    """One undelivered notification for one receiver.

    Times are seconds of the steady clock. `first` is whether it holds the opening of its incident,
    so that nothing was told of it before; `maybe_seen` whether an attempt may have succeeded.
    """

    id: int
    notification: Notification
    since: float
    first: bool = False
    maybe_seen: bool = False
    minimal: bool = False
    attempts: int = 0
    attempted_at: float = -math.inf
    not_before: float = -math.inf
    folded: tuple[Pending, ...] = ()
    """Others that the same message tells of."""

    @property
    def all(self) -> tuple[Pending, ...]:
        """Everything that the message tells of."""
        return replace(self, folded=()), *self.folded

    @property
    def chain(self) -> str:
        """What is delivered in order: events of one dedup key, over incidents.

        A resolve that overtook the next incident's trigger would silence it.
        """
        return self.notification.dedup_key or self.notification.incident


@dataclass(frozen=True, slots=True)
class Survivors:
    """What is still to be sent, in order, and the ids of what is not."""

    kept: tuple[Pending, ...]
    dropped: tuple[int, ...]


def supersede(waiting: Sequence[Pending], *, tells_missed: bool) -> Survivors:
    """What of one chain's `waiting` notifications, none of them being sent, is left.

    The newest state of an incident wins. An incident that ended before anybody can have heard of it
    is told in one message, or not at all where `tells_missed` is false. After an attempt that may
    have succeeded, and after a delivery, the resolve is always kept.
    """
    kept: list[Pending] = []
    dropped: list[int] = []
    for each in waiting:
        newer = each
        if kept and _replaces(each, kept[-1]):
            older = kept.pop()
            dropped.append(older.id)
            newer = replace(each, first=older.first, maybe_seen=each.maybe_seen or older.maybe_seen)
        if _missed(newer) and not tells_missed:
            dropped.append(newer.id)
        else:
            kept.append(newer)
    return Survivors(tuple(kept), tuple(dropped))


def told_as(pending: Pending) -> Notification:
    """The notification as it is to be sent: it says so where it tells of what was missed."""
    if pending.folded:
        return digest([each.notification for each in pending.all])
    notification = pending.notification
    if not _missed(pending):
        return notification
    return replace(notification, headline=f"{MISSED}{notification.headline}")


def _replaces(newer: Pending, older: Pending) -> bool:
    same = newer.notification.incident == older.notification.incident
    state = Transition.TEST not in (newer.notification.transition, older.notification.transition)
    # A resolve is not replaced by what comes after it: the incident was opened again.
    return same and state and older.notification.transition is not Transition.RESOLVED


def _missed(pending: Pending) -> bool:
    """Whether an incident ended without its opening having been told."""
    resolved = pending.notification.transition is Transition.RESOLVED
    return resolved and pending.first and not pending.maybe_seen
