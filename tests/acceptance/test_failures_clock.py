"""An operator sets the clock while pgheadroom runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from tests.support.clock_shim import WallClock
from tests.support.postgres import sessions
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import event, events, pagerduty, prepare, watched, watching

HOUR = 3600


def test_the_shim_shifts_the_wall_clock_alone(tmp_path):
    clock = WallClock(tmp_path)
    clock.step(-HOUR)
    script = "import time; print(time.time(), time.monotonic()); time.sleep(0.01)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | clock.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    wall, steady = map(float, done.stdout.split())
    assert wall == pytest.approx(time.time() - HOUR, abs=60)
    assert steady == pytest.approx(time.monotonic(), abs=60)


@pytest.mark.parametrize("step", [-HOUR, HOUR], ids=["back", "forward"])
def test_a_clock_set_by_an_hour_changes_nothing(tmp_path, start_postgres, step):
    server = prepare(start_postgres(16, max_connections=20))
    clock = WallClock(tmp_path)
    with HttpReceiver() as receiver:
        # Only the 70 % alert, so that what is told can be counted.
        watch = watching(
            tmp_path,
            [watched(server)],
            [pagerduty(receiver)],
            environ=clock.environ,
            thresholds={"connections_critical": None},
        )
        with watch.running():
            watch.wait_for_used(1)
            with sessions(server, 11, user="app"):
                watch.wait_for_used(12)
                clock.step(step)
                with sessions(server, 2, user="app"):
                    # Only a poll after the step can have counted these.
                    seen = watch.wait_for_used(14)
                    assert seen.one("pgheadroom_snapshot_age_seconds") < HOUR / 2
                    (told,) = map(event, receiver.wait_for(1))
                    pending = told.made - watch.active_since("PostgresConnectionsHigh")
                    assert timedelta(seconds=0.5) <= pending < timedelta(hours=0.5)
            eventually(lambda: events(receiver)[-1].action == "resolve", "resolved")
            assert set(watch.scrape().failures()) <= {"late"}
        assert [e.action for e in events(receiver)] == ["trigger", "resolve"]
