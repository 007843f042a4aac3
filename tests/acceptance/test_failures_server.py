"""Servers that freeze, restart, crash and lock their catalogs, seen from the installed command."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.postgres import children, frozen, left, sessions, watchers
from tests.support.receivers import PAGERDUTY_OK, HttpReceiver, eventually
from tests.support.watching import events, pagerduty, prepare, watched, watching

#: max_connections less three for superusers.
SETTINGS = {"max_connections": 20, "autovacuum": False}
USABLE = 17
#: With our own session, every usable slot.
FULL = USABLE - 1


@contextlib.contextmanager
def stopped(server) -> Iterator[None]:
    """Everything of the server is stopped; the postmaster first, so that it starts nothing more."""
    with frozen(server.pid), frozen(*children(server.pid)):
        yield


def test_a_server_frozen_for_four_seconds_is_late_and_nothing_else(tmp_path, start_postgres):
    calm = prepare(start_postgres(16, **SETTINGS))
    full = prepare(start_postgres(18, **SETTINGS))
    with HttpReceiver(otherwise=PAGERDUTY_OK) as receiver, sessions(full, FULL, user="app"):
        servers = [watched(calm, "calm"), watched(full, "full")]
        watch = watching(tmp_path, servers, [pagerduty(receiver)], failing_speed=1)
        with watch.running():
            watch.wait_for_used(1, "calm")
            watch.wait_for_used(USABLE, "full")
            receiver.wait_for(1)
            before = watchers(calm), watchers(full)
            with stopped(calm), stopped(full):
                seen = watch.observe(4.0)
            after = watch.wait_for(
                "both servers seen again", lambda s: s.up("calm") and s.up("full")
            )
            watch.observe(1.0)
            for name, used in (("calm", 1), ("full", USABLE)):
                assert {s.used(name) for s in seen} == {used}
                assert not seen[-1].up(name)
                assert set(after.failures(name)) <= {"late"}
            assert (watchers(calm), watchers(full)) == before
            assert len(watch.logged("WARNING")) == len(watch.logged("poll failed")) == 2
            assert [(e.action, e.server) for e in events(receiver)] == [("trigger", "full")]


@pytest.mark.slow(15)
def test_a_server_frozen_for_long_is_unreachable_and_its_incident_goes_on(tmp_path, start_postgres):
    server = prepare(start_postgres(16, **SETTINGS))
    with HttpReceiver() as receiver, contextlib.ExitStack() as clients:
        clients.enter_context(sessions(server, FULL, user="app"))
        probed = watched(server, probe={"enabled": True})
        # Without it full and unseen would be critical at once, and the steps could not be seen.
        thresholds = {"connections_warning": None}
        watch = watching(tmp_path, [probed], [pagerduty(receiver)], failing_speed=6,
                         thresholds=thresholds)  # fmt: skip
        with watch.running():
            watch.wait_for("full", lambda s: s.firing("PostgresConnectionsExhausted"))
            with stopped(server):
                watch.wait_for("warned", lambda s: s.firing("PostgresServerUnreachable"))
                young = watch.scrape()
                old = watch.wait_for(
                    "paged", lambda s: s.firing("PostgresServerUnreachableLong"), 20
                )
                assert not old.up()
                age = "pgheadroom_snapshot_age_seconds"
                assert old.one(age) > young.one(age) > 2
                assert old.used() == USABLE
                eventually(
                    lambda: bool(watch.logged("session given up")), "the session is given up"
                )
            eventually(
                lambda: (
                    [e.action for e in events(receiver, family="reachability")][-1] == "resolve"
                ),
                "the server is reachable again",
            )
            watch.wait_for_used(USABLE)
            told = [(e.action, e.severity) for e in events(receiver, family="reachability")]
            assert told[:2] == [("trigger", "warning"), ("trigger", "critical")]
            assert [action for action, _ in told].count("resolve") == 1
            assert {e.action for e in events(receiver, family="connections")} == {"trigger"}
            assert left(server) == 1
            clients.close()
            eventually(
                lambda: events(receiver, family="connections")[-1].action == "resolve", "resolved"
            )
            assert len({e.incident for e in events(receiver, family="connections")}) == 1


@pytest.mark.parametrize("how", ["restarted", "crashed"])
def test_a_server_that_comes_back_is_counted_again(tmp_path, start_postgres, how):
    server = prepare(start_postgres(18, **SETTINGS))
    with HttpReceiver() as receiver:
        watch = watching(tmp_path, [watched(server)], [pagerduty(receiver)])
        with watch.running():
            with sessions(server, 5, user="app") as held:
                watch.wait_for_used(6)
                if how == "restarted":
                    server.stop("fast")
                    server.start()
                else:
                    os.kill(held[0].info.backend_pid, signal.SIGKILL)
            watch.wait_for_used(1)
            assert set(watch.scrape().failures()) <= {"starting", "network"}
            with sessions(server, 7, user="app"):
                watch.wait_for_used(8)
            assert left(server) == 1
        assert {e.family for e in events(receiver)} <= {"reachability"}
        assert "critical" not in {e.severity for e in events(receiver)}


def test_locked_catalogs_fail_no_poll(tmp_path, start_postgres):
    server = prepare(start_postgres(16, **SETTINGS))
    watch = watching(tmp_path, [watched(server)])
    with (
        watch.running(),
        sessions(server, 8, user="app") as held,
        psycopg.connect(server.dsn(), autocommit=True) as locker,
    ):
        before = watch.wait_for_used(10).failures()
        with locker.transaction():
            locker.execute("lock table pg_database, pg_authid in access exclusive mode")
            eventually(lambda: bool(watch.logged("slow read failed")), "a read that met the lock")
            for gone, session in enumerate(held, 1):
                session.close()
                watch.wait_for_used(10 - gone)
        assert watch.scrape().failures() == before == {}
        # Once for each kind of read, not at every attempt.
        assert len(watch.logged("slow read failed")) <= 2


def test_nothing_resolves_because_a_restarted_watcher_sees_nothing(tmp_path, start_postgres):
    server = prepare(start_postgres(18, **SETTINGS))
    with HttpReceiver() as receiver:
        watch = watching(tmp_path, [watched(server)], [pagerduty(receiver)])
        with sessions(server, FULL, user="app"):
            with watch.running():
                watch.wait_for_used(USABLE)
                receiver.wait_for(1)
            server.stop("immediate")
        # As after a night: what is that old is not taken up again, so that nothing is known.
        with contextlib.closing(sqlite3.connect(next(watch.state_dir.glob("*.sqlite*")))) as kept:
            assert kept.execute("delete from state where key = 'snapshot/db'").rowcount == 1
            kept.commit()
        with watch.running():
            watch.observe(1.2)
            assert watch.scrape().firing("PostgresConnectionsExhausted")
            assert {e.action for e in events(receiver, family="connections")} == {"trigger"}
            server.start()
            watch.wait_for_used(1)
            eventually(
                lambda: events(receiver, family="connections")[-1].action == "resolve", "resolved"
            )
            assert len({e.incident for e in events(receiver, family="connections")}) == 1
