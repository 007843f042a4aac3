"""Many servers in one process: those that are dead in the worst way delay nobody."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack

import psycopg
import pytest

from bench.blackholes import BlackHoles
from tests.support.postgres import watchers
from tests.support.receivers import eventually
from tests.support.watching import POLLING, prepare, watched, watching

LIVE, HOLES = 30, 10
INTERVAL, SECONDS = 0.5, 4.0
#: Slow reads would count as polls here.
POLLS = POLLING | {
    "interval": INTERVAL,
    "busy_interval": INTERVAL,
    "counters_interval": 60,
    "facts_interval": 60,
}
LOOK = """
    select pid, query_start from pg_stat_activity
     where application_name = 'pgheadroom' and query like '%every poll%'
"""


@pytest.fixture
def instances(start_postgres):
    servers = [prepare(start_postgres(16, max_connections=60)) for _ in range(2)]
    for server in servers:
        server.psql("alter role pgheadroom connection limit -1")
    return servers


def polls(instances, seconds):
    """How often each of our sessions was used within `seconds`, by its pid."""
    seen = defaultdict(set)
    with ExitStack() as stack:
        eyes = [
            stack.enter_context(psycopg.connect(server.dsn(), autocommit=True))
            for server in instances
        ]
        until = time.monotonic() + seconds

        def look():
            for number, eye in enumerate(eyes):
                for pid, started in eye.execute(LOOK):
                    seen[number, pid].add(started)
            return time.monotonic() >= until

        eventually(look, "the end of the observation", seconds + 10)
    return {key: len(times) for key, times in seen.items()}


def test_black_holes_delay_nobody(tmp_path, instances):
    with BlackHoles(HOLES) as holes:
        servers = [
            watched(instances[number % 2], f"live-{number}", labels={"n": number})
            for number in range(LIVE)
        ]
        servers += [
            {"name": f"hole-{number}", "dsn": dsn} for number, dsn in enumerate(holes.dsns())
        ]
        watch = watching(tmp_path, servers, polling=POLLS)
        with watch.running():
            seen = watch.wait_for(
                "all but the black holes", lambda s: sum(s.all("pgheadroom_up")) == LIVE, 20
            )
            counted = polls(instances, SECONDS)
            assert len(counted) == LIVE
            # A busy machine may delay some of them; a login that hangs would stop them.
            assert min(counted.values()) >= SECONDS / INTERVAL / 2, counted
            seen = watch.scrape()
            for number in range(HOLES):
                assert set(seen.failures(f"hole-{number}")) == {"late"}
            eventually(
                lambda: sum(len(watchers(server)) for server in instances) == LIVE,
                "a session for each server that answers",
            )
            assert len(watch.logged("poll failed")) == HOLES


def test_first_polls_are_spread(tmp_path, instances):
    servers = [watched(instances[0], f"s-{number}") for number in range(LIVE)]
    watch = watching(tmp_path, servers, polling=POLLS | {"interval": 60, "busy_interval": 60})
    with watch.running():
        watch.wait_for("all of them", lambda s: sum(s.all("pgheadroom_up")) == LIVE, 20)
        logins = instances[0].psql(
            "select extract(epoch from max(backend_start) - min(backend_start))"
            " from pg_stat_activity where application_name = 'pgheadroom'"
        )
    assert float(logins) > 0.5
