"""What one receiver has still to be told, and what of it is sent next; pure: time is an argument.

Notifications of one chain go out in order, one at a time. A chain that fails waits by itself; when
two chains fail in a row, the receiver is taken to be down and is tried with one of them at a time.
What may be told together waits for a moment, and then goes in one message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from exporter.alerting.notification import Severity, Transition
from exporter.notify.backoff import Backoff, TokenBucket
from exporter.notify.digest import DIGEST_SECONDS, that_fit
from exporter.notify.receiver import DeliveryError, Pace, Reason
from exporter.notify.superseding import Pending, supersede

#: Chains that fail in a row before the receiver itself is taken to be down.
_DOWN = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """How a receiver's notifications are retried. `expiry` in seconds, then the dead letter."""

    pace: Pace
    tells_missed: bool
    backoff: Backoff = field(default_factory=Backoff)
    expiry: float = 86_400.0


class Verdict(Enum):
    """What becomes of a notification whose attempt failed."""

    RETRY = auto()
    DEAD = auto()


class Queue:
    """The undelivered notifications of one receiver. Not thread-safe.

    `chance` draws from [0, 1). Times are seconds of one steady clock.
    """

    def __init__(self, policy: Policy, chance: Callable[[], float]) -> None:
        self._policy = policy
        self._chance = chance
        self._bucket = TokenBucket(policy.pace)
        self._chains: dict[str, list[Pending]] = {}
        self._sending: Pending | None = None
        self._failures = 0
        self._failed_chains: set[str] = set()
        self._failed_at = -math.inf
        self._jitter = 0.0
        self._asked_until = -math.inf

    def __len__(self) -> int:
        return sum(1 for _ in self._all())

    def oldest(self, severity: Severity | None = None) -> float | None:
        """Since when the oldest, or the oldest of `severity`, has been waiting."""
        waiting = (e for e in self._all() if severity in (None, e.notification.severity))
        return min((each.since for each in waiting), default=None)

    def add(self, pending: Pending) -> tuple[int, ...]:
        """Put `pending` into its chain by id, once; the ids that are superseded now."""
        if any(each.id == pending.id for each in self._of(pending.chain)):
            return ()
        if pending.notification.transition is Transition.OPENED:
            pending = replace(pending, first=True)
        if pending.notification.digest:
            pending = replace(pending, not_before=pending.since + DIGEST_SECONDS)
        chain = self._chains.setdefault(pending.chain, [])
        chain.append(pending)
        chain.sort(key=lambda each: each.id)
        return self._settle(pending.chain)

    def keep(self, ids: Collection[int]) -> None:
        """Leave out what is not among `ids`; nothing may be under way."""
        for key, chain in tuple(self._chains.items()):
            left = [each for each in chain if each.id in ids]
            if left:
                self._chains[key] = left
            else:
                del self._chains[key]

    def _settle(self, key: str) -> tuple[int, ...]:
        """Supersede within the chain `key`, sparing what is being sent."""
        survivors = supersede(self._chains[key], tells_missed=self._policy.tells_missed)
        if survivors.kept:
            self._chains[key] = list(survivors.kept)
        else:
            del self._chains[key]
        return survivors.dropped

    def next(self, now: float) -> Pending | None:
        """What is to be sent now, most severe first, then the one not tried for longest.

        It must be followed by `delivered` or `failed`.
        """
        if self._sending is not None or self._bucket.ready_at(now) > now:
            return None
        due = [head for head in self._heads() if self._due_at(head) <= now]
        if not due:
            return None
        chosen = min(due, key=lambda e: (-e.notification.severity.rank, e.attempted_at, e.id))
        self._bucket.take(now)
        first, *others = [self._taken(each, now) for each in self._together(chosen)]
        self._sending = replace(first, folded=tuple(others))
        return self._sending

    def _together(self, chosen: Pending) -> list[Pending]:
        """`chosen`, and the heads of the chains that are told in one message with it."""
        if not chosen.notification.digest:
            return [chosen]
        others = [e for e in self._heads() if e.notification.digest and e.id != chosen.id]
        together = [chosen, *sorted(others, key=lambda each: each.id)]
        return together[: that_fit(each.notification for each in together)]

    def _taken(self, head: Pending, now: float) -> Pending:
        """Take `head` out of its chain, to be sent."""
        self._chains[head.chain].pop(0)
        if not self._chains[head.chain]:
            del self._chains[head.chain]
        return replace(head, attempts=head.attempts + 1, attempted_at=now)

    def wake_at(self, now: float) -> float | None:
        """When `next` or `expired` will have something; None while only `add` can change that."""
        if self._sending is not None:
            return None
        due = min((self._due_at(head) for head in self._heads()), default=None)
        oldest = self.oldest()
        if due is None or oldest is None:
            return None
        return min(max(due, self._bucket.ready_at(now)), oldest + self._policy.expiry)

    def _due_at(self, head: Pending) -> float:
        due = max(head.not_before, self._asked_until)
        if len(self._failed_chains) < _DOWN:
            return due
        severity = head.notification.severity
        pause = self._policy.backoff.delay(self._failures, severity, self._jitter)
        return max(due, self._failed_at + pause)

    def delivered(self) -> None:
        """The one that is being sent was accepted; if the receiver was down, it is up again."""
        self._sending = None
        if len(self._failed_chains) >= _DOWN:
            for chain in self._chains.values():
                chain[0] = replace(chain[0], not_before=-math.inf)
        self._failures = 0
        self._failed_chains.clear()

    def failed(self, error: DeliveryError, now: float) -> tuple[Verdict, tuple[int, ...]]:
        """What becomes of the one that was being sent, and the ids that are superseded now."""
        sent = self._sending
        if sent is None:
            raise RuntimeError("nothing is being sent")
        self._sending = None
        self._count(sent, error, now)
        if error.permanent and (error.reason is not Reason.PAYLOAD or sent.minimal):
            return Verdict.DEAD, ()
        not_before = -math.inf if error.permanent else now + self._delay(sent)
        dropped: list[int] = []
        for each in sent.all:
            waiting = replace(
                each,
                maybe_seen=each.maybe_seen or error.ambiguous,
                minimal=sent.minimal or error.permanent,
                not_before=not_before,
            )
            self._chains.setdefault(each.chain, []).insert(0, waiting)
            dropped += self._settle(each.chain)
        return Verdict.RETRY, tuple(dropped)

    def _delay(self, sent: Pending) -> float:
        severity = sent.notification.severity
        return self._policy.backoff.delay(sent.attempts, severity, self._chance())

    def _count(self, sent: Pending, error: DeliveryError, now: float) -> None:
        """Note what the failure says of the receiver itself."""
        if error.retry_after is not None or error.reason is Reason.RATE_LIMITED:
            # A little later than asked, and not all at the same time.
            wait = max(self._policy.backoff.base, error.retry_after or 0.0)
            self._asked_until = now + wait * (1.0 + 0.1 * self._chance())
        elif not error.permanent:
            self._failures += 1
            self._failed_chains.add(sent.chain)
            self._failed_at = now
            self._jitter = self._chance()

    def expired(self, now: float) -> tuple[Pending, ...]:
        """Take out what has been waiting for too long."""
        old = tuple(e for e in self._waiting() if e.since + self._policy.expiry <= now)
        gone = {each.id for each in old}
        for key in [each.chain for each in old]:
            left = [each for each in self._chains.pop(key, []) if each.id not in gone]
            if left:
                self._chains[key] = left
        return old

    def _of(self, key: str) -> Iterator[Pending]:
        """What the chain `key` has, with what of it is being sent."""
        yield from self._chains.get(key, ())
        if self._sending is not None:
            yield from (each for each in self._sending.all if each.chain == key)

    def _heads(self) -> Iterator[Pending]:
        return (chain[0] for chain in self._chains.values())

    def _waiting(self) -> Iterator[Pending]:
        return (each for chain in self._chains.values() for each in chain)

    def _all(self) -> Iterator[Pending]:
        if self._sending is not None:
            yield from self._sending.all
        yield from self._waiting()
