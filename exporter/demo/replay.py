"""One launch from calm to refusal, watched from the side of those who take the slots."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from exporter.demo.clients import Launch
from exporter.demo.receiver import Receiver
from exporter.demo.timeline import Timeline
from exporter.demo.view import Frame
from exporter.demo.watcher import Reading, Watcher

CALM_SECONDS = 10.0
"""How long an ordinary day lasts before the launch, at speed 1."""
AFTER_SECONDS = 8.0
"""How long the demo goes on after the first refusal, at speed 1."""
LEAST_AFTER_SECONDS = 2.0
"""At any speed: a page that comes late should still be seen to come."""
WATCHER_SESSIONS = 1
"""pgheadroom keeps one session, and it holds a slot as any other."""
_FRAME_SECONDS = 0.2


@dataclass
class Replay:
    """The launch and those who look at it. Times are of the monotonic clock, in seconds."""

    launch: Launch
    watcher: Watcher
    receiver: Receiver
    usable: int
    speed: float = 1.0
    _reading: Reading = field(default_factory=Reading, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def run(self, show: Callable[[Frame], None], *, keep: bool = False) -> Timeline:
        """A calm while, the launch, and a while after the first refusal; `show` gets each frame.

        With `keep` the launch goes on until `close`; else it ends here.
        """
        await self.launch.open()
        self._reading = await asyncio.to_thread(self.watcher.reading)
        self._begin(self._read())
        begins = time.monotonic() + CALM_SECONDS / self.speed
        await self._show_until(begins, show, begins)
        self._begin(self.launch.ramp())
        ends = begins + self.launch.ramp_seconds + self._after
        while time.monotonic() < ends:
            if self.launch.first_refusal is not None:
                ends = min(ends, self.launch.first_refusal.at + self._after)
            await self._show_until(time.monotonic() + _FRAME_SECONDS, show, begins)
        if not keep:
            await self.close()
        return self.timeline(begins)

    async def close(self) -> None:
        """End the launch and the reading; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.launch.close()

    def timeline(self, began: float) -> Timeline:
        """What has happened so far."""
        page = next(iter(self.receiver.pages), None)
        refusal = self.launch.first_refusal
        return Timeline(
            began=self.launch.began or began,
            usable=self.usable,
            curve=tuple((at, held + WATCHER_SESSIONS) for at, held in self.launch.curve),
            paged_at=None if page is None else page.at,
            refused_at=None if refusal is None else refusal.at,
        )

    @property
    def _after(self) -> float:
        return max(LEAST_AFTER_SECONDS, AFTER_SECONDS / self.speed)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _show_until(self, until: float, show: Callable[[Frame], None], begins: float) -> None:
        while (now := time.monotonic()) < until:
            show(self._frame(now, begins))
            await asyncio.sleep(min(_FRAME_SECONDS, max(0.0, until - now)))

    def _frame(self, now: float, begins: float) -> Frame:
        """What there is to show at `now`."""
        return Frame(
            seconds=now - begins,
            ramp_seconds=self.launch.ramp_seconds,
            used=self.launch.held + WATCHER_SESSIONS,
            usable=self.usable,
            held=self.launch.held,
            wanted=self.launch.wanted,
            refusals=self.launch.refusals,
            reading=self._reading,
            events=self.timeline(begins).events if now >= begins else (),
        )

    async def _read(self) -> None:
        """Ask pgheadroom each second, off the loop: a slow answer must not hold up the launch."""
        while True:
            self._reading = await asyncio.to_thread(self.watcher.reading)
            await asyncio.sleep(1.0 / self.speed)
