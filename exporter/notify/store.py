"""State that outlives the process: keys with a text each, and the outbox, on a writer thread.

What is decided is kept in memory first and written behind it. While the disk is slow, full,
read-only or broken, everything goes on from memory, `health` says so, and the writer tries again;
what has piled up lands in one transaction when the disk is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

from exporter.alerting.notification import Notification
from exporter.notify.disk import Disk, DiskError
from exporter.notify.lock import StateDirBusyError
from exporter.notify.memory import Memory
from exporter.notify.receiver import Reason
from exporter.notify.rows import (
    COMMIT_SECONDS,
    Changes,
    CommitResult,
    DeadLetter,
    OutboxRow,
    StoreHealth,
)

_log = logging.getLogger(__name__)

SLOW = "the disk is slow"
CLOSED = "the store is closed"


class StateStore:
    """The state in `state_dir`, which is made if it is missing.

    `flush_seconds` is how long `save_soon` gathers, `retry_seconds` how often a disk that failed is
    tried again. Methods may be called from any thread and do not wait for the disk, except for the
    constructor, `save`, `commit` and `close`.

    Raises:
        StateDirBusyError: another process uses the directory.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        clock: Callable[[], float] = time.time,
        flush_seconds: float = 1.0,
        retry_seconds: float = 2.0,
    ) -> None:
        self._clock = clock
        self._flush = flush_seconds
        self._retry = retry_seconds
        self._disk = Disk(state_dir)
        self._changed = threading.Condition()
        self._memory = Memory()
        self._waiters: list[Future[str]] = []
        self._writing = 0
        self._write_at: float | None = None
        self._was_read = False
        self._error = ""
        self._slow = 0
        self._closing = False
        self.on_late_rows: Callable[[Sequence[OutboxRow]], None] = lambda _: None
        """Called on the writer's thread with the rows of an earlier process, where the disk could
        not be read at the start and can be now."""
        self._open_first()
        self._thread = threading.Thread(target=self._run, name="state-store", daemon=True)
        self._thread.start()

    def _open_first(self) -> None:
        try:
            self._memory.adopt(self._disk.open())
            self._was_read = True
        except StateDirBusyError:
            raise
        except DiskError as error:
            self._note(str(error))
            self._write_at = time.monotonic() + self._retry

    def pending_rows(self) -> tuple[OutboxRow, ...]:
        """The rows that are neither delivered, superseded nor dead, oldest first."""
        with self._changed:
            return tuple(sorted(self._memory.rows.values(), key=lambda row: row.id))

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """The notifications that were given up, oldest first."""
        with self._changed:
            return tuple(sorted(self._memory.dead.values(), key=lambda letter: letter.died_at))

    def load(self, key: str) -> str | None:
        """The text that was last saved under `key`, whether it is on disk yet or not."""
        with self._changed:
            return self._memory.states.get(key)

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """The keys that begin with `prefix`, in order."""
        with self._changed:
            return tuple(sorted(key for key in self._memory.states if key.startswith(prefix)))

    def save(self, key: str, text: str, timeout: float = COMMIT_SECONDS) -> CommitResult:
        """Put `text` on disk, waiting for it at most `timeout` seconds."""
        return self.commit({key: text}, (), timeout)

    def save_soon(self, key: str, text: str) -> None:
        """Put `text` on disk within about `flush_seconds`, together with whatever else changes."""
        with self._changed:
            if self._memory.states.get(key) != text:
                self._memory.put({key: text}, (), self._clock())
                self._wake(self._flush)

    def forget(self, key: str) -> None:
        """Remove `key` within about `flush_seconds`."""
        with self._changed:
            self._memory.forget(key)
            self._wake(self._flush)

    def submit(
        self, states: Mapping[str, str], notifications: Sequence[tuple[str, Notification]]
    ) -> tuple[tuple[OutboxRow, ...], Future[str]]:
        """Begin to write `states`, and an outbox row for each (receiver, notification).

        The future gives "" once all of it is on disk, in one transaction, or why it is not yet.
        """
        done: Future[str] = Future()
        with self._changed:
            rows = self._memory.put(states, notifications, self._clock())
            if self._closing:
                done.set_result(CLOSED)
            else:
                self._waiters.append(done)
                self._wake(0.0)
        return rows, done

    def commit(
        self,
        states: Mapping[str, str],
        notifications: Sequence[tuple[str, Notification]],
        timeout: float = COMMIT_SECONDS,
    ) -> CommitResult:
        """`submit`, and wait for it at most `timeout` seconds."""
        rows, done = self.submit(states, notifications)
        try:
            error = done.result(timeout)
        except FutureTimeoutError:
            error = self.note_slow()
        return CommitResult(rows, on_disk=not error, error=error)

    def note_slow(self) -> str:
        """Count a commit that is not waited for any longer; the words for it."""
        with self._changed:
            self._slow += 1
            return self._error or SLOW

    def settle(self, row_ids: Iterable[int]) -> None:
        """Forget rows that were delivered or superseded."""
        with self._changed:
            self._memory.settle(row_ids)
            # At once: what was delivered and is still on disk is sent again by a restart.
            self._wake(0.0)

    def rename(self, receiver: str, name: str) -> tuple[OutboxRow, ...]:
        """Keep what was told to `receiver`, and is to be, for `name`; the rows that are pending."""
        with self._changed:
            moved = self._memory.rename(receiver, name)
            self._wake(0.0)
        return moved

    def bury(self, row_id: int, reason: Reason) -> None:
        """Keep a row as a dead letter."""
        with self._changed:
            self._memory.bury(row_id, self._clock(), reason)
            self._wake(0.0)

    def health(self) -> StoreHealth:
        """Whether what is decided survives a restart."""
        with self._changed:
            return StoreHealth(
                writable=not self._error,
                error=self._error,
                notice=self._disk.notice,
                unsaved=len(self._memory.unsaved) + self._writing,
                dead=len(self._memory.dead),
                slow=self._slow,
            )

    @property
    def alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._thread.is_alive()

    def close(self, timeout: float = 1.0) -> bool:
        """Write what is left, within `timeout` seconds; whether everything is on disk."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive() and not self._memory.unsaved

    def _wake(self, seconds: float) -> None:
        """Have the writer write in `seconds` at the latest."""
        at = time.monotonic() + seconds
        if self._write_at is None or at < self._write_at:
            self._write_at = at
            self._changed.notify_all()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._await_work()
                closing = self._closing
                unsaved = self._memory.take_unsaved()
                waiters, self._waiters = self._waiters, []
                self._writing, self._write_at = len(unsaved), None
            error = self._write(unsaved)
            for waiter in waiters:
                if waiter.set_running_or_notify_cancel():
                    waiter.set_result(error)
        self._disk.close()

    def _await_work(self) -> None:
        while not self._closing:
            wait = None if self._write_at is None else self._write_at - time.monotonic()
            if wait is not None and wait <= 0:
                return
            self._changed.wait(wait)

    def _write(self, unsaved: Changes) -> str:
        """Write `unsaved`, or give it back for later; why, or ""."""
        error = ""
        try:
            self._disk.look()
            if not self._disk.is_open:
                unsaved = self._reopen(unsaved)
            if unsaved:
                self._disk.write(unsaved)
        except (DiskError, StateDirBusyError) as failure:
            error = str(failure)
        with self._changed:
            self._writing = 0
            self._note(error)
            if error:
                self._memory.give_back(unsaved)
                self._wake(self._retry)
        return error

    def _reopen(self, unsaved: Changes) -> Changes:
        """Open the disk again; all that it must be given now, as its contents are not known.

        What it holds is taken up once. After that, memory knows better, also of what is gone.
        """
        contents = self._disk.open()
        with self._changed:
            late = () if self._was_read else self._memory.adopt(contents)
            unsaved = contents.removed().under(unsaved)
            self._was_read = True
            everything = self._memory.everything_over(unsaved)
        if late:
            self.on_late_rows(late)
        return everything

    def _note(self, error: str) -> None:
        """Remember how the last write went, and say so when that changes."""
        if error and not self._error:
            _log.error("state cannot be written, going on from memory error=%s", error)
        elif self._error and not error:
            _log.info("state is written again")
        self._error = error
