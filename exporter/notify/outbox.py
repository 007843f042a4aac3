"""The store and the dispatcher together: written down first, then sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from exporter.alerting.notification import Notification
from exporter.notify.dispatcher import STOP_SECONDS, Dispatcher
from exporter.notify.rows import COMMIT_SECONDS, CommitResult
from exporter.notify.store import StateStore


class Outbox:
    """`tell` a transition and its notifications: they will be delivered, or superseded."""

    def __init__(self, store: StateStore, dispatcher: Dispatcher) -> None:
        self.store = store
        self.dispatcher = dispatcher

    def start(self) -> None:
        """Begin to send, with what an earlier process left undelivered first."""
        self.store.on_late_rows = self.dispatcher.enqueue
        self.dispatcher.start()
        self.dispatcher.enqueue(self.store.pending_rows())

    async def tell(
        self,
        states: Mapping[str, str],
        notifications: Sequence[tuple[str, Notification]],
        timeout: float = COMMIT_SECONDS,  # noqa: ASYNC109  the disk's, not the caller's
    ) -> CommitResult:
        """Commit `states` with a row for each (receiver, notification), then hand the rows over.

        If they are not on disk within `timeout` seconds, they are sent all the same, the result
        says why, and they land on disk when it lets us. The loop is never blocked.
        """
        rows, done = self.store.submit(states, notifications)
        try:
            finished, _ = await asyncio.wait({asyncio.wrap_future(done)}, timeout=timeout)
        finally:
            # Also when this task is cancelled: what was decided is told.
            self.dispatcher.enqueue(rows)
        error = done.result() if finished else self.store.note_slow()
        return CommitResult(rows, on_disk=not error, error=error)

    def tell_now(
        self,
        states: Mapping[str, str],
        notifications: Sequence[tuple[str, Notification]],
        timeout: float = COMMIT_SECONDS,
    ) -> CommitResult:
        """`tell` for callers without a loop; blocks for `timeout` seconds at most."""
        result = self.store.commit(states, notifications, timeout)
        self.dispatcher.enqueue(result.rows)
        return result

    def trouble(self, undelivered: float) -> str:
        """Why it cannot be relied on, or "".

        `undelivered` is for how many seconds a critical notification may be on its way.
        """
        if not self.store.alive:
            return "the writer of the outbox has ended"
        if not self.dispatcher.alive:
            return "a receiver's thread has ended"
        late = [
            each.receiver
            for each in self.dispatcher.telemetry()
            if each.oldest_critical_seconds >= undelivered
        ]
        return f"a critical notification is undelivered at {', '.join(late)}" if late else ""

    def stop(self, deadline: float = STOP_SECONDS) -> bool:
        """Drain for at most `deadline` seconds, then half a second for the disk.

        Whether everything was written. What was not sent stays on disk for the next start.
        """
        self.dispatcher.stop(deadline)
        return self.store.close(timeout=0.5)
