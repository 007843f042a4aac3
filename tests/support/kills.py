"""Many watchers over one server, each killed at its own time after a threshold is crossed.

All of them see the same crossing and the same drain, so a whole grid of kill times takes no longer
than one of them.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from exporter.demo.postgres import EmbeddedPostgres
from tests.support.postgres import sessions
from tests.support.receivers import Answer, HttpReceiver
from tests.support.watching import Event, Samples, Watching, events, pagerduty, watched, watching

ALERT = "PostgresConnectionsCritical"
MAX_CONNECTIONS = 200
#: Of 197 usable slots half is 98.5: watchers of one round stay below it, the crowd passes it alone.
BELOW, ABOVE = 70, 35
MOST_KILLS = 24
ANSWER_SECONDS = 3.0
#: Many processes start at once on a small machine.
PATIENCE = 90.0


@dataclass(frozen=True)
class Kill:
    """SIGKILL `after` seconds; the next run finds its state, or with `empty` none."""

    after: float
    empty: bool = False

    @property
    def name(self) -> str:
        return f"{self.after * 1000:.0f}ms{'-empty' if self.empty else ''}"


@dataclass(frozen=True)
class Outcome:
    """What one pager was asked to take over both runs, and what the second run says at the end."""

    kill: Kill
    events: tuple[Event, ...]
    before: int
    """How many of the events the killed process had begun."""
    killed_at: float
    samples: Samples
    log: str


def kill_round(server: EmbeddedPostgres, folder: Path, kills: Sequence[Kill]) -> list[Outcome]:
    """Start a watcher for each of `kills`, cross, kill, start again, drain; what came of each."""
    assert len(kills) <= MOST_KILLS
    # One watcher needs a few sessions at most; here are many, with one role.
    server.psql("alter role pgheadroom connection limit -1;")
    it = _Round(server, folder, len(kills))
    with sessions(server, BELOW, user="app"), ThreadPoolExecutor(len(kills)) as pool:
        lives = [pool.submit(it.live, kill) for kill in kills]
        # The life that failed says why.
        with contextlib.suppress(threading.BrokenBarrierError):
            it.ready.wait()
            with sessions(server, ABOVE, user="app"):
                it.crossed_at = time.monotonic()
                it.crossed.wait()
                it.paged.wait()
            it.drained.wait()
    # A life that ended because another one failed has nothing to say.
    errors = [error for life in lives if (error := life.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
        raise error
    return [life.result() for life in lives]


class _Round:
    """What the lives of one round wait for together."""

    def __init__(self, server: EmbeddedPostgres, folder: Path, number: int) -> None:
        self._server = server
        self._folder = folder
        self.crossed_at = 0.0
        self.ready, self.crossed, self.paged, self.drained = self._barriers = tuple(
            threading.Barrier(number + 1, timeout=2 * PATIENCE) for _ in range(4)
        )

    def live(self, kill: Kill) -> Outcome:
        """One watcher's two runs."""
        try:
            outcome = self._live(kill)
        except (AssertionError, OSError, ValueError):
            for barrier in self._barriers:
                barrier.abort()
            raise
        return outcome

    def _live(self, kill: Kill) -> Outcome:
        folder = self._folder / kill.name
        folder.mkdir()
        with HttpReceiver() as pager:
            watch = self._watch(folder, pager)
            with watch.running():
                watch.wait_for("seen", lambda s: s.up(), PATIENCE)
                self.ready.wait()
                self.crossed.wait()
                threading.Event().wait(max(0.0, self.crossed_at + kill.after - time.monotonic()))
                watch.kill()
                killed_at = time.monotonic()
            before = len(pager.requests)
            if kill.empty:
                shutil.rmtree(watch.state_dir)
            with watch.running():
                watch.wait_for("paged", lambda s: _paged(s, pager), PATIENCE)
                self.paged.wait()
                self.drained.wait()
                last = watch.wait_for("resolved", lambda s: _resolved(s, pager), PATIENCE)
            return Outcome(kill, tuple(events(pager)), before, killed_at, last, watch.log)

    def _watch(self, folder: Path, pager: HttpReceiver) -> Watching:
        to = pagerduty(pager)
        pager.otherwise = Answer(202, "{}", delay=ANSWER_SECONDS)
        thresholds = {"connections_warning": None, "connections_critical": 0.5}
        return watching(
            folder,
            [watched(self._server)],
            [to],
            thresholds=thresholds,
            cold_start_resolve=None,
        )


def _idle(samples: Samples) -> bool:
    return set(samples.all("pgheadroom_outbox_pending")) == {0}


def _paged(samples: Samples, pager: HttpReceiver) -> bool:
    triggered = any(each.action == "trigger" for each in events(pager))
    return triggered and samples.firing(ALERT) and _idle(samples)


def _resolved(samples: Samples, pager: HttpReceiver) -> bool:
    last = {each.dedup_key: each.action for each in events(pager)}
    return set(last.values()) == {"resolve"} and _idle(samples)


def assert_nothing_lost(outcome: Outcome) -> None:
    """One page, under one key, which ends; with a kept state it is one incident."""
    told, where = outcome.events, f"{outcome.kill.name}:\n{outcome.log}"
    assert {each.family for each in told} == {"connections"}, where
    assert len({each.dedup_key for each in told}) == 1, where
    actions = [each.action for each in told]
    # What had no answer yet when the process was killed may never have been taken.
    answered = [
        each.action
        for number, each in enumerate(told)
        if number >= outcome.before or each.at + ANSWER_SECONDS <= outcome.killed_at
    ]
    assert answered[0] == "trigger", where
    assert actions[0] == "trigger", where
    assert actions[-1] == "resolve", where
    # What was under way when the process was killed is sent once more, and nothing else is.
    assert actions.count("trigger") <= 2, where
    if not outcome.kill.empty:
        assert len({each.incident for each in told}) == 1, where
