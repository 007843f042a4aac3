"""Killed at any time after a threshold is crossed: every page arrives, and every page ends."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.support.kills import MAX_CONNECTIONS, Kill, assert_nothing_lost, kill_round
from tests.support.postgres import sessions
from tests.support.receivers import HttpReceiver
from tests.support.watching import events, pagerduty, prepare, watched, watching

#: Milliseconds after the crossing; the pager takes 3 s to answer.
GRID = range(0, 3001, 50)
SOME = (0, 50, 100, 150, 250, 400, 700, 1100, 1600, 2100, 2600, 3000)
SOAK = pytest.mark.skipif("SOAK" not in os.environ, reason="`make soak` kills at the whole grid")
TOGETHER = 12
USABLE = 17


@pytest.mark.slow(30)
@pytest.mark.timeout(400)
def test_killed_after_the_crossing_nothing_is_lost(start_postgres, tmp_path):
    server = prepare(start_postgres(16, max_connections=MAX_CONNECTIONS))
    kills = [Kill(after / 1000, empty=n % 2 == 1) for n, after in enumerate(SOME)]
    for outcome in kill_round(server, tmp_path, kills):
        assert_nothing_lost(outcome)


@SOAK
@pytest.mark.slow(400)
@pytest.mark.timeout(3600)
def test_killed_at_the_whole_grid_nothing_is_lost(start_postgres, tmp_path, record_property):
    server = prepare(start_postgres(16, max_connections=MAX_CONNECTIONS))
    kills = [Kill(after / 1000, empty=empty) for after in GRID for empty in (False, True)]
    again = 0
    for first in range(0, len(kills), TOGETHER):
        for outcome in kill_round(server, tmp_path, kills[first : first + TOGETHER]):
            assert_nothing_lost(outcome)
            again += sum(each.action == "trigger" for each in outcome.events) - 1
    record_property("kills", len(kills))
    record_property("triggers_sent_twice", again)


def test_an_incident_of_a_lost_state_that_is_over_is_ended(start_postgres, tmp_path):
    server = prepare(start_postgres(18, max_connections=20))
    thresholds = {"connections_warning": None}
    with HttpReceiver() as pager:
        receivers = [pagerduty(pager)]
        watch = watching(
            tmp_path, [watched(server)], receivers, cold_start_resolve=1, thresholds=thresholds
        )
        with watch.running(), sessions(server, USABLE - 2, user="app"):
            pager.wait_for(1)
            watch.kill()
        shutil.rmtree(watch.state_dir)
        (trigger,) = events(pager)
        with watch.running():
            watch.wait_for("ended", lambda _: trigger.dedup_key in resolved(pager))
        told = events(pager)[1:]
        assert {each.action for each in told} == {"resolve"}
        assert len({each.dedup_key for each in told}) == len(told), "each once"
        # Another start finds a state, however little: what was ended is not ended again.
        with watch.running():
            watch.wait_for("seen", lambda s: s.up())
            watch.observe(2)
        assert len(events(pager)) >= len(told) + 1
        assert len(resolved(pager)) == len(set(resolved(pager))), "each once"


def resolved(pager: HttpReceiver) -> list[str]:
    """The keys that `pager` was told are over."""
    return [each.dedup_key for each in events(pager) if each.action == "resolve"]
