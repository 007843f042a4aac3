"""All receivers, each with a worker of its own: what goes to one never waits for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from exporter.notify.backoff import Backoff
from exporter.notify.clock import Clocks
from exporter.notify.pending import Policy
from exporter.notify.receiver import Reason, Receiver
from exporter.notify.rows import OutboxRow
from exporter.notify.telemetry import ReceiverTelemetry
from exporter.notify.upkeep import PREFIX
from exporter.notify.worker import Journal, Worker

_log = logging.getLogger(__name__)

#: How long a stop drains; Kubernetes and systemd kill only much later.
STOP_SECONDS = 1.0


class Dispatcher:
    """Sends rows to their receivers: at least once, in order per incident and receiver.

    `journal` is told what became of each row. `backoff` and `clocks` are given by tests.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        journal: Journal,
        *,
        backoff: Backoff | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._journal = journal
        self._backoff = backoff or Backoff()
        self._clocks = clocks or Clocks()
        self._lock = threading.Lock()
        self._started = False
        self._renamed: Mapping[str, str] = {}
        self._gone: dict[str, Worker] = {}
        self._workers = {each.name: self._worker(each) for each in receivers}
        for key in journal.keys(PREFIX):
            if key.removeprefix(PREFIX) not in self._workers:
                journal.forget(key)

    def _worker(self, receiver: Receiver) -> Worker:
        policy = Policy(receiver.pace, receiver.tells_missed, self._backoff)
        return Worker(receiver, policy, self._journal, self._clocks)

    def start(self) -> None:
        """Begin to send."""
        with self._lock:
            self._started = True
            for worker in self._workers.values():
                worker.start()

    def enqueue(self, rows: Iterable[OutboxRow]) -> None:
        """Take over `rows`; returns at once. Rows for nobody become dead letters."""
        by_receiver: dict[str, list[OutboxRow]] = {}
        for row in rows:
            by_receiver.setdefault(row.receiver, []).append(row)
        with self._lock:
            for old in by_receiver.keys() & self._renamed.keys():
                # Decided before the reload, and told after it.
                new = self._renamed[old]
                self._journal.rename(old, new)
                by_receiver.setdefault(new, []).extend(by_receiver.pop(old))
            for name, its_rows in by_receiver.items():
                worker = self._workers.get(name)
                if worker is not None:
                    worker.enqueue(its_rows)
                else:
                    self._bury(name, its_rows)

    def _bury(self, name: str, rows: Iterable[OutboxRow]) -> None:
        for row in rows:
            _log.warning(
                "notification for an unknown receiver receiver=%s incident=%s",
                name,
                row.notification.incident,
            )
            self._journal.bury(row.id, Reason.REMOVED)

    def reload(
        self, receivers: Sequence[Receiver], renamed: Mapping[str, str] | None = None
    ) -> None:
        """Use `receivers` from now on; a receiver that keeps its name keeps what is pending.

        So does one of `renamed`, names by earlier names. What is pending for one that is gone stays
        on disk; it is sent if the receiver comes back, and given up at the next start without it.
        """
        wanted = {each.name: each for each in receivers}
        with self._lock:
            self._renamed = dict(renamed or {})
            before: dict[str, list[Worker]] = {}
            for old, new in self._renamed.items():
                before.setdefault(new, []).extend(self._handed_over(old, new))
            for name in self._workers.keys() - wanted.keys():
                self._gone[name] = self._workers.pop(name)
                self._gone[name].stop()
                self._journal.forget(f"{PREFIX}{name}")
            for name, receiver in wanted.items():
                if name in self._workers:
                    self._workers[name].replace(receiver)
                else:
                    self._begin(receiver, before.get(name, ()))

    def _handed_over(self, old: str, new: str) -> list[Worker]:
        """Let the receiver `new` have all that `old` had; the worker that `old` had."""
        workers = [self._workers.pop(old)] if old in self._workers else []
        for worker in workers:
            worker.abandon()
        rows = self._journal.rename(old, new)
        if new in self._workers:
            self._workers[new].enqueue(rows)
        standing = self._journal.load(f"{PREFIX}{old}")
        if standing is not None and new not in self._workers:
            self._journal.save_soon(f"{PREFIX}{new}", standing)
        self._journal.forget(f"{PREFIX}{old}")
        return workers

    def _begin(self, receiver: Receiver, after: Iterable[Worker]) -> None:
        """Begin to send to a receiver that was not there, or is back, with what is pending."""
        name, after = receiver.name, list(after)
        if name in self._gone:
            after.append(self._gone.pop(name))
            after[-1].abandon()
        made = self._workers[name] = self._worker(receiver)
        rows = (row for row in self._journal.pending_rows() if row.receiver == name)
        made.enqueue(replace(row, resumed=True) for row in rows)
        if self._started:
            made.start(after)

    def telemetry(self) -> tuple[ReceiverTelemetry, ...]:
        """What became of each receiver's notifications, by name."""
        with self._lock:
            workers = sorted(self._workers.items())
        return tuple(worker.telemetry() for _, worker in workers)

    @property
    def alive(self) -> bool:
        """Whether every receiver has its thread."""
        with self._lock:
            return all(worker.alive for worker in self._workers.values())

    def stop(self, deadline: float = STOP_SECONDS) -> bool:
        """Send what is due within `deadline` seconds; whether all workers ended in that time.

        What is not sent stays on disk. A request that hangs is left behind in its daemon thread.
        """
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        until = time.monotonic() + deadline
        ended = [worker.join(until - time.monotonic()) for worker in workers]
        return all(ended)
