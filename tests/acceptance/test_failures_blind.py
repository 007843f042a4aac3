"""A server that is not seen any more: when that warns, when it pages, and when it is over.

The seconds of the reachability rules are divided by ten (tests/support/watching.py).
"""

from __future__ import annotations

import time

from exporter.sources.session import BACKOFF_LONGEST_SECONDS
from tests.support.postgres import sessions
from tests.support.receivers import HttpReceiver, eventually
from tests.support.standby import Standby
from tests.support.watching import events, pagerduty, prepare, watched, watching

SCRAM = ["host all app 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"]
SETTINGS = {"max_connections": 20, "autovacuum": False}
USABLE = 17
FULL = USABLE - 1
SPEED = 10.0


def reachability(receiver):
    return events(receiver, family="reachability")


def test_a_login_that_fails_warns_and_then_pages_like_every_blindness(tmp_path, start_postgres):
    server = prepare(start_postgres(15, hba=SCRAM, **SETTINGS))
    server.psql("alter role pgheadroom password 'right'")
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    command = ["cat", str(secret)]
    with HttpReceiver() as receiver:
        watch = watching(
            tmp_path, [watched(server, password_command=command)], [pagerduty(receiver)]
        )
        with watch.running():
            watch.wait_for_used(1)
            secret.write_text("wrong-and-secret\n")
            server.restart()
            began = time.monotonic()
            receiver.wait_for(2, 30)
            warned, paged = reachability(receiver)
            assert (warned.severity, paged.severity) == ("warning", "critical")
            assert warned.at - began >= 15 / SPEED
            assert paged.at - began >= 60 / SPEED
            assert warned.incident == paged.incident
            assert "password authentication failed" in watch.page
            assert watch.scrape().failures()["auth"] > 1
            secret.write_text("right\n")
            mended = time.monotonic()
            watch.wait_for("seen", lambda s: s.up(), BACKOFF_LONGEST_SECONDS + 5)
            assert time.monotonic() - mended <= BACKOFF_LONGEST_SECONDS + 2
            eventually(lambda: reachability(receiver)[-1].action == "resolve", "resolved")
        assert "wrong-and-secret" not in watch.log


def test_a_server_that_was_nearly_full_pages_at_once(tmp_path, start_postgres):
    server = prepare(start_postgres(14, **SETTINGS))
    with HttpReceiver() as receiver:
        thresholds = {"connections_critical": None}
        watch = watching(tmp_path, [watched(server)], [pagerduty(receiver)], thresholds=thresholds)
        with watch.running():
            with sessions(server, 12, user="app"):
                watch.wait_for_used(13)
                server.stop("immediate")
                watch.wait_for("paged", lambda s: s.firing("PostgresServerUnreachableFull"))
                eventually(lambda: bool(reachability(receiver)), "paged")
            first = reachability(receiver)[0]
            assert (first.action, first.severity) == ("trigger", "critical")
            assert "76.47% of the slots were in use" in first.summary
            server.start()
            watch.wait_for_used(1)
            eventually(lambda: reachability(receiver)[-1].action == "resolve", "resolved")


def test_a_promotion_keeps_the_incident(tmp_path, start_postgres):
    primary = prepare(start_postgres(16, **SETTINGS))
    with HttpReceiver() as receiver, Standby(primary) as standby:
        watch = watching(tmp_path, [watched(standby)], [pagerduty(receiver)])
        with watch.running(), sessions(standby, FULL, user="app"):
            full = watch.wait_for("full", lambda s: s.firing("PostgresConnectionsExhausted"))
            assert full.one("pgheadroom_server_info", role="standby") == 1
            receiver.wait_for(1)
            primary.stop("immediate")
            standby.promote()
            role = "pgheadroom_server_info"
            watch.wait_for("promoted", lambda s: s.all(role, role="primary") == [1])
            for seen in watch.observe(1.0):
                assert seen.up()
                assert seen.firing("PostgresConnectionsExhausted")
            assert [e.action for e in events(receiver, family="connections")] == ["trigger"]


def test_who_blocks_others_is_on_the_page_and_in_the_answer(tmp_path, start_postgres):
    server = prepare(start_postgres(13, **SETTINGS))
    server.psql("create table contended (n int); grant all on contended to app")
    lock = "lock table contended in access exclusive mode"
    with sessions(server, 2, user="app", application_name="checkout") as (owner, waiter):
        for each in (owner, waiter):
            each.execute("begin")
        owner.execute(lock)
        watch = watching(tmp_path, [watched(server)])
        with watch.running():
            watch.wait_for_used(3)
            waiter.pgconn.send_query(lock.encode())
            eventually(lambda: "blocked by pid" in watch.page, "the blocker on the page")
            (blocker,) = watch.holders("db")["blockers"]
            assert blocker["pid"] == owner.info.backend_pid
            assert (blocker["application_name"], blocker["blocked"]) == ("checkout", 1)
            assert blocker["state"] == "idle in transaction"
            waiter.cancel_safe(timeout=5)
