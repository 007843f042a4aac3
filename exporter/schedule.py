"""When things happen: APScheduler runs each endpoint's turn, a monotonic watchdog keeps it honest.

APScheduler lives on wall time. When the clock is stepped back by an hour, its next run is an hour
away; the watchdog, which lives on the loop's monotonic clock, sees that a turn is overdue and asks
for it now.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

log = logging.getLogger(__name__)

Turn = Callable[[], Awaitable[None]]
#: Seconds by which a turn may begin late: a timer grain, a busy loop, too small a machine.
LATE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WATCHDOG_SECONDS = 1.0
OVERDUE_INTERVALS = 2.0
#: For what is due already to begin by itself, when a busy loop held it up as well as the watchdog.
SETTLE_SECONDS = 0.05
#: When a turn is not only late but missing; the longest deadline of a turn is well below.
MISSING_INTERVALS, MISSING_SECONDS = 3.0, 30.0


class Lateness:
    """How late turns began, for reasons of ours: what a slow endpoint does to its own turns is not.

    `buckets` is cumulative, by upper bound in seconds.
    """

    def __init__(self) -> None:
        self.buckets = dict.fromkeys(LATE_BUCKETS, 0)
        self.count = 0
        self.sum = 0.0

    def note(self, seconds: float) -> None:
        """Count a turn that began `seconds` late; one that is early counts as in time."""
        self.count += 1
        self.sum += max(0.0, seconds)
        for bound in LATE_BUCKETS:
            self.buckets[bound] += seconds <= bound


class Job:
    """One endpoint's turn, repeated at an interval that it may change; never two at once."""

    def __init__(
        self, name: str, turn: Turn, interval: Callable[[], float], lateness: Lateness
    ) -> None:
        self.name = name
        self._lateness = lateness
        self._turn = turn
        self._interval = interval
        self.seconds = interval()
        self.running: asyncio.Task[None] | None = None
        self.began_at = float("-inf")
        self.made_at = time.monotonic()
        self.due_at: float | None = None
        """When the next turn should begin by the loop's clock, None where nobody can say."""

    async def run(self) -> None:
        """One turn. What goes wrong is logged: the next turn comes all the same."""
        loop = asyncio.get_running_loop()
        self.began_at = loop.time()
        if self.due_at is not None:
            self._lateness.note(self.began_at - self.due_at)
        self.running = asyncio.current_task()
        try:
            await self._turn()
        except Exception:
            log.exception("turn failed", extra={"job": self.name})
        finally:
            self.running = None
            following = self.began_at + self.seconds
            self.due_at = following if following > loop.time() else None

    def ask(self) -> bool:
        """Take up the interval as it is now; whether it is another one."""
        before, self.seconds = self.seconds, self._interval()
        return self.seconds != before

    def missing(self, now: float) -> bool:
        """Whether no turn began for three intervals and `MISSING_SECONDS`, also while one hangs."""
        since = max(self.began_at, self.made_at)
        return now - since > self.seconds * MISSING_INTERVALS + MISSING_SECONDS

    def overdue(self, now: float) -> bool:
        """Whether, by the loop's clock, a turn should have begun by now and none is under way."""
        return self.running is None and now - self.began_at > self.seconds * OVERDUE_INTERVALS


class Schedule:
    """All jobs of the process.

    One job is one server, one pooler or one probe, so that a frozen one delays nobody else.
    """

    def __init__(self) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._jobs: dict[str, Job] = {}
        self.lateness = Lateness()
        self._watchdog: asyncio.Task[None] | None = None
        self._seen_at = float("-inf")
        self._stopping = False

    def every(
        self, name: str, turn: Turn, interval: Callable[[], float], delay: float = 0.0
    ) -> None:
        """Run `turn` every `interval()` seconds, asked anew after each turn.

        The first time is after `delay` seconds, less as many whole intervals as there are in it.
        """
        job = Job(name, turn, interval, self.lateness)
        self._jobs[name] = job
        self._scheduler.add_job(
            self._run,
            IntervalTrigger(seconds=job.seconds, timezone=UTC),
            args=[job],
            id=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
            next_run_time=datetime.now(UTC) + timedelta(seconds=delay % job.seconds),
        )

    def has(self, name: str) -> bool:
        """Whether there is a job of that name."""
        return name in self._jobs

    def remove(self, name: str) -> None:
        """Begin no further turn of `name`, if there is one; a turn under way goes on."""
        if self._jobs.pop(name, None) is not None:
            self._scheduler.remove_job(name)

    def reconsider(self) -> None:
        """Ask every job for its interval now: one of an hour need not be over first."""
        for job in self._jobs.values():
            if job.ask():
                self._reschedule(job)

    def start(self) -> None:
        """Begin, on the running loop."""
        self._scheduler.start()
        self._watchdog = asyncio.get_running_loop().create_task(self._watch())

    @property
    def alive(self) -> bool:
        """Whether the watchdog has looked lately: the loop turns and nobody blocks it."""
        return asyncio.get_running_loop().time() - self._seen_at < WATCHDOG_SECONDS * 20

    def missing(self) -> tuple[str, ...]:
        """The jobs whose last turn began longer ago than any delay explains."""
        now = asyncio.get_running_loop().time()
        return tuple(name for name, job in self._jobs.items() if job.missing(now))

    async def stop(self, seconds: float) -> None:
        """Begin nothing more; give turns that are under way `seconds` to finish."""
        self._stopping = True
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._scheduler.remove_all_jobs()
        running = {job.running for job in self._jobs.values() if job.running is not None}
        if running:
            _, late = await asyncio.wait(running, timeout=seconds)
            for task in late:
                task.cancel()
        self._scheduler.shutdown(wait=False)

    async def _run(self, job: Job) -> None:
        try:
            await job.run()
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            # By `stop`, which is no error that APScheduler has to tell.
            return
        if job.ask() and self._jobs.get(job.name) is job:
            self._reschedule(job)

    def _reschedule(self, job: Job) -> None:
        job.due_at = asyncio.get_running_loop().time() + job.seconds
        self._scheduler.reschedule_job(
            job.name, trigger=IntervalTrigger(seconds=job.seconds, timezone=UTC)
        )

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._seen_at = loop.time()
            suspects = [job for job in self._jobs.values() if self._lost(job)]
            if suspects:
                await asyncio.sleep(SETTLE_SECONDS)
            for job in filter(self._lost, suspects):
                log.warning("clock moved, turn brought forward", extra={"job": job.name})
                self._scheduler.modify_job(job.name, next_run_time=datetime.now(UTC))
            await asyncio.sleep(WATCHDOG_SECONDS)

    def _lost(self, job: Job) -> bool:
        now = asyncio.get_running_loop().time()
        return job.overdue(now) and self._misplaced(job)

    def _misplaced(self, job: Job) -> bool:
        """Whether APScheduler means to wait for longer than an interval: it lost the time."""
        known = self._scheduler.get_job(job.name)
        if known is None or known.next_run_time is None:
            return False
        wait: timedelta = known.next_run_time - datetime.now(UTC)
        return wait.total_seconds() > job.seconds or wait.total_seconds() < -job.seconds
