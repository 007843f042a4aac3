from dataclasses import replace

import pytest

from exporter.snapshot.pool import PoolerFacts, PoolStats, PoolUser
from exporter.snapshot.pooler import Waits, leads_to, waiting_applications, warnings_of, worst
from tests.support.poolers import (
    VERSIONS,
    captured_snapshot,
    database,
    pool,
    pooled,
    waiting,
)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saturated_pool_by_every_version(version):
    """Five connections at work for 50 clients of pgbench; pool_size 5 and one in reserve."""
    snapshot = captured_snapshot(version)
    uses = {use.pool.key: use for use in snapshot.pool_use()}
    app = uses["app", "plain"]
    assert (app.used, app.limit, app.pool.cl_waiting) == (5, 6, 46)
    assert 0.5 < app.pool.wait_seconds < 0.7
    assert uses["appsock", "plain"].used == 0, "sv_idle is free"
    assert snapshot.client_use().ratio == 0.55
    assert {pool.database for pool in snapshot.pools} == {"app", "appsock"}
    assert not any(snapshot.paused().values())
    assert worst(snapshot) is app or worst(snapshot) == app


def test_sv_used_is_free_whatever_its_name_says():
    (use,) = pooled(pool(sv_active=4, sv_used=15, sv_idle=2, sv_login=1)).pool_use()
    assert use.used == 5
    assert use.pool.connections == 22


def test_a_limit_of_zero_is_none():
    free = pooled(
        pool("a", sv_active=3),
        databases=(database("a", pool_size=0, reserve=0, max_connections=0),),
        facts=PoolerFacts("1.24.1", max_client_conn=0, max_user_connections=0),
        lists={"used_clients": 7},
    )
    assert free.pool_use() == ()
    assert free.limit_use() == ()
    assert free.client_use() is None


def test_a_users_own_pool_size_goes_before_the_databases():
    facts = PoolerFacts("1.24.1", users={"bi": PoolUser("bi", pool_size=2, reserve_pool_size=0)})
    big, small = pooled(pool(sv_active=2), pool(user="bi", sv_active=2), facts=facts).pool_use()
    assert (big.limit, small.limit) == (25, 2)
    assert small.ratio == 1


def test_limits_of_databases_and_users():
    facts = PoolerFacts(
        "1.24.1",
        max_user_connections=30,
        users={"bi": PoolUser("bi", None, None, 10, 4)},
    )
    snapshot = pooled(
        pool("shop", "app", sv_active=20, sv_idle=7),
        pool("shop", "bi", sv_active=1, cl_waiting=2),
        pool("logs", "bi", sv_active=8),
        databases=(
            database("shop", max_connections=40, current_connections=28),
            database("logs", max_client_connections=100, current_client_connections=90),
        ),
        facts=facts,
    )
    found = {(use.limit, use.name): (use.used, use.most) for use in snapshot.limit_use()}
    assert found == {
        ("database_connections", "shop"): (28, 40),
        ("database_clients", "logs"): (90, 100),
        ("user_connections", "app"): (27, 30),
        ("user_connections", "bi"): (9, 10),
        ("user_clients", "bi"): (11, 4),
    }


def test_a_global_pause_is_in_the_state_alone():
    shot = pooled(pool("a"), pool("b"), state={"active": False, "paused": True})
    assert shot.paused() == {"a": True, "b": True}
    one = pooled(pool("a"), databases=(database("a", paused=1), database("b")), state={})
    assert one.paused() == {"a": True, "b": False}
    suspended = pooled(pool("a"), state={"suspended": True})
    assert suspended.paused() == {"a": True}


@pytest.mark.parametrize(
    ("changes", "facts", "capacity"),
    [
        ({}, {}, 50),
        ({"max_connections": 30}, {}, 30),
        ({}, {"max_user_connections": 15}, 30),
        ({}, {"users": {"app": PoolUser("app", 3, 0)}}, 28),
        ({"pool_size": 0, "reserve": 0, "max_connections": 12}, {}, 12),
    ],
)
def test_what_a_pooler_may_open(changes, facts, capacity):
    snapshot = pooled(
        pool(user="app"),
        pool(user="bi"),
        databases=(database(**changes), database("elsewhere", host="10.0.0.9")),
        facts=PoolerFacts("1.24.1", **facts),
    )
    assert snapshot.capacity(leads_to(snapshot, ["10.0.0.5:5432"])) == capacity


def test_a_database_that_nobody_has_used_yet_counts_once():
    snapshot = pooled(databases=(database("shop", force_user="app"), database("logs", 10, 0)))
    assert snapshot.capacity(["shop", "logs"]) == 35


def test_behind_an_alias_every_database_counts():
    snapshot = pooled(databases=(database("a", host="db.internal"), database("b", host="db2")))
    assert leads_to(snapshot, ["prod.example.com:5432"]) == ("a", "b")
    (warning,) = warnings_of(snapshot, ["prod.example.com:5432"])
    assert "2 addresses (db.internal:5432, db2:5432)" in warning
    assert warnings_of(snapshot, ["db2:5432"]) == ()
    assert warnings_of(snapshot, []) == ()


def test_several_processes_on_one_port_are_warned_about_unless_by_unix_socket():
    over_tcp = PoolerFacts("1.24.1", so_reuseport=True, local=False)
    (warning,) = warnings_of(pooled(facts=over_tcp), [])
    assert "several processes may answer" in warning
    assert warnings_of(pooled(facts=replace(over_tcp, local=True)), []) == ()


def test_a_pool_without_a_size_is_warned_about():
    (warning,) = warnings_of(pooled(databases=(database("wild", pool_size=0, reserve=0),)), [])
    assert "nothing limits the server connections of database wild" in warning


def test_who_waits_in_a_pool():
    shot = pooled(
        pool(cl_waiting=9),
        clients=(waiting("web", 4), waiting("checkout", 5), waiting("bi", 3, "logs")),
    )
    names = [
        (each.application_name, each.used) for each in waiting_applications(shot, ("shop", "app"))
    ]
    assert names == [("checkout", 5), ("web", 4)]
    assert len(waiting_applications(shot, None)) == 3
    assert waiting_applications(pooled(pool()), None) == ()


def worst_user(*pools):
    use = worst(pooled(*pools))
    return None if use is None else use.pool.user


def test_the_worst_pool_is_where_clients_wait_the_longest():
    full = pool(user="full", sv_active=25)
    slow = pool(user="slow", sv_active=2, wait=3.25, cl_waiting=1)
    assert worst_user(full, slow) == "slow"
    assert worst_user(full, pool(user="calm")) == "full"
    assert worst_user() is None


def stats(served, wait_us, name="shop"):
    return [PoolStats(name, total_server_assignment_count=served, total_wait_time=wait_us)]


def test_wait_per_transaction_over_the_last_minute():
    waits = Waits()
    assert waits.update(0.0, stats(1000, 5_000_000)) == {}
    assert waits.update(2.0, stats(1010, 6_000_000)) == {"shop": 0.1}
    assert waits.update(4.0, stats(1010, 6_000_000)) == {"shop": 0.1}
    assert waits.update(70.0, stats(1010, 6_000_000)) == {}, "nobody was served in the last minute"


def test_sums_that_fall_begin_anew():
    waits = Waits()
    waits.update(0.0, stats(1000, 9_000_000))
    assert waits.update(2.0, stats(10, 50_000)) == {}
    assert waits.update(4.0, stats(20, 150_000)) == {"shop": 0.01}


def test_before_1_23_transactions_stand_for_assignments():
    waits = Waits()
    old = PoolStats("shop", total_xact_count=10, total_wait_time=0)
    waits.update(0.0, [old])
    new = replace(old, total_xact_count=14, total_wait_time=2_000_000)
    assert waits.update(2.0, [new]) == {"shop": 0.5}
    assert waits.update(4.0, [PoolStats("shop")]) == {}
