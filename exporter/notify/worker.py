"""One receiver's thread: it sends what is due, and writes down what came of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from exporter.alerting.notification import Severity, Transition
from exporter.notify.clock import Clocks
from exporter.notify.pending import Policy, Queue, Verdict
from exporter.notify.receiver import DeliveryError, Reason, Receiver
from exporter.notify.rows import OutboxRow
from exporter.notify.superseding import Pending, told_as
from exporter.notify.telemetry import ReceiverTelemetry, Tally
from exporter.notify.upkeep import PREFIX, Upkeep

_log = logging.getLogger(__name__)

#: The last request of a worker takes less: to connect, and twice its timeout for the answer.
_LAST_SECONDS = 20.0


class Journal(Protocol):
    """Where the outbox is written down. No call blocks or fails."""

    def settle(self, row_ids: Iterable[int]) -> None:
        """Forget rows that were delivered or superseded."""

    def bury(self, row_id: int, reason: Reason) -> None:
        """Keep a row as a dead letter."""

    def rename(self, receiver: str, name: str) -> tuple[OutboxRow, ...]:
        """Keep what was told to `receiver`, and is to be, for `name`; the rows that are pending."""

    def pending_rows(self) -> tuple[OutboxRow, ...]:
        """The rows that are neither delivered, superseded nor dead, oldest first."""

    def load(self, key: str) -> str | None:
        """The text that was last saved under `key`."""

    def save_soon(self, key: str, text: str) -> None:
        """Keep `text` under `key`, together with whatever else changes."""

    def forget(self, key: str) -> None:
        """Remove `key`."""

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """The keys that begin with `prefix`."""


class Worker:
    """Delivers to one receiver from a daemon thread of its own, so that it delays no other."""

    def __init__(
        self, receiver: Receiver, policy: Policy, journal: Journal, clocks: Clocks
    ) -> None:
        self._receiver = receiver
        self._policy = policy
        self._journal = journal
        self._clocks = clocks
        self._queue = Queue(policy, clocks.chance)
        self._tally = Tally()
        key = f"{PREFIX}{receiver.name}"
        self._upkeep = Upkeep(
            lambda: journal.load(key), lambda text: journal.save_soon(key, text), clocks
        )
        self._changed = threading.Condition()
        self._draining = False
        self._abandoned = False
        self._after: tuple[Worker, ...] = ()
        self._thread = threading.Thread(
            target=self._run, name=f"notify-{receiver.name}", daemon=True
        )

    def start(self, after: Iterable[Worker] = ()) -> None:
        """Begin to send when the workers in `after`, which tell at the same place, have ended.

        What they are still sending could arrive after what this one sends, and undo it; what they
        have sent by then is not sent again, and what was refused stays so.
        """
        self._after = tuple(after)
        self._thread.start()

    def replace(self, receiver: Receiver) -> None:
        """Use `receiver` from the next attempt on: the configuration was reloaded."""
        with self._changed:
            self._receiver = receiver
            self._upkeep.hurry()
            self._changed.notify_all()

    def enqueue(self, rows: Iterable[OutboxRow]) -> None:
        """Take over `rows`; returns at once."""
        with self._changed:
            dropped: list[int] = []
            for row in rows:
                dropped += self._add(row)
            self._superseded(dropped)
            self._changed.notify_all()

    def _add(self, row: OutboxRow) -> Iterable[int]:
        resolved = row.notification.transition is Transition.RESOLVED
        if resolved and not self._receiver.send_resolved:
            return (row.id,)
        age = max(0.0, self._clocks.wall() - row.created_at)
        # A row of an earlier process may have been sent in the instant before that ended.
        since = self._clocks.steady() - age
        return self._queue.add(Pending(row.id, row.notification, since, maybe_seen=row.resumed))

    def stop(self) -> None:
        """Send what is due without waiting for anything, then end; `join` waits for that."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Send nothing more when the request that is under way has ended."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether the thread ended within `seconds`; one that hangs ends with the process."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds))
        self.abandon()
        return not self._thread.is_alive()

    def telemetry(self) -> ReceiverTelemetry:
        """The counts as they are now."""
        with self._changed:
            return self._tally.telemetry(
                self._receiver.name,
                len(self._queue),
                self._age(self._queue.oldest()),
                self._age(self._queue.oldest(Severity.CRITICAL)),
            )

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def _age(self, since: float | None) -> float:
        return 0.0 if since is None else max(0.0, self._clocks.steady() - since)

    def _run(self) -> None:
        if self._after:
            self._succeed()
        while (work := self._next()) is not None:
            if isinstance(work, Upkeep):
                self._resend(work)
                continue
            error = self._attempt(work)
            with self._changed:
                if error is None:
                    self._delivered(work)
                else:
                    self._failed(work, error)

    def _succeed(self) -> None:
        """Wait for the workers before this one, and leave out what they have told meanwhile."""
        for each in self._after:
            each.join(_LAST_SECONDS)
        self._after = ()
        with self._changed:
            self._queue.keep({row.id for row in self._journal.pending_rows()})

    def _next(self) -> Pending | Upkeep | None:
        """What to send now, waited for; None when the thread is to end."""
        with self._changed:
            while not self._abandoned:
                now = self._clocks.steady()
                self._expire(now)
                pending = self._queue.next(now)
                if pending is not None:
                    self._tally.attempted(pending.attempts)
                    return pending
                if self._draining:
                    return None
                due = self._upkeep.due_at(self._receiver)
                if due is not None and due <= now:
                    return self._upkeep
                wakes = [at for at in (due, self._queue.wake_at(now)) if at is not None]
                self._changed.wait(max(0.0, min(wakes) - now) if wakes else None)
        return None

    def _attempt(self, pending: Pending) -> DeliveryError | None:
        told = told_as(pending)
        return _tried(
            lambda: self._receiver.send(told, minimal=pending.minimal),
            permanent=not pending.minimal,
        )

    def _resend(self, upkeep: Upkeep) -> None:
        error = _tried(lambda: upkeep.send(self._receiver))
        with self._changed:
            if error is None:
                self._accepted()
            else:
                self._refused(error)

    def _delivered(self, pending: Pending) -> None:
        now = self._clocks.steady()
        self._accepted()
        self._queue.delivered()
        for each in pending.all:
            self._tally.delivered(max(0.0, now - each.since))
            # Before the row goes: both are written in one transaction.
            self._upkeep.told(self._receiver, each.notification)
        self._journal.settle(tuple(each.id for each in pending.all))

    def _accepted(self) -> None:
        if self._tally.failing:
            _log.info("receiver accepts again receiver=%s", self._receiver.name)
        self._tally.accepted()

    def _refused(self, error: DeliveryError) -> None:
        if not self._tally.failing:
            _log.warning(
                "receiver fails receiver=%s reason=%s error=%s",
                self._receiver.name,
                error.reason,
                error.message,
            )
        self._tally.failed(error)

    def _failed(self, pending: Pending, error: DeliveryError) -> None:
        self._refused(error)
        verdict, dropped = self._queue.failed(error, self._clocks.steady())
        self._superseded(dropped)
        if verdict is Verdict.DEAD:
            for each in pending.all:
                self._bury(each, error.reason)

    def _expire(self, now: float) -> None:
        for pending in self._queue.expired(now):
            self._bury(pending, Reason.EXPIRED)

    def _bury(self, pending: Pending, reason: Reason) -> None:
        _log.error(
            "notification given up receiver=%s reason=%s incident=%s transition=%s",
            self._receiver.name,
            reason,
            pending.notification.incident,
            pending.notification.transition,
        )
        self._tally.dead()
        self._upkeep.given_up(self._receiver, pending.notification, reason)
        self._journal.bury(pending.id, reason)

    def _superseded(self, dropped: Iterable[int]) -> None:
        ids = tuple(dropped)
        if ids:
            self._tally.superseded(len(ids))
            self._journal.settle(ids)


def _tried(send: Callable[[], None], *, permanent: bool = False) -> DeliveryError | None:
    """What went wrong when `send` was called; `permanent` is whether a defect is."""
    try:
        send()
    except DeliveryError as error:
        return error
    except Exception as error:  # noqa: BLE001  a receiver's defect must not end its thread
        # Its text may hold anything, a secret too; its type does not. What could not be made
        # of the whole notification can perhaps be made of its headline.
        return DeliveryError(
            Reason.PAYLOAD,
            f"defect in the receiver: {type(error).__name__}",
            permanent=permanent,
            ambiguous=True,
        )
    return None
