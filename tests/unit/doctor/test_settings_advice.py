"""What doctor says of settings, one at a time."""

from dataclasses import replace

import pytest

from exporter.alerting.notification import Severity
from exporter.doctor.poolers import pooler_advice
from exporter.doctor.servers import server_advice
from exporter.snapshot.pool import PoolerFacts
from exporter.snapshot.server import Reason, ServerState
from exporter.snapshot.slots import Limits
from tests.support import poolers
from tests.support.poolers import pooler_state
from tests.support.states import failure, snapshot, state

GOOD = {
    "idle_in_transaction_session_timeout_seconds": 60.0,
    "track_activity_query_size_bytes": 1024.0,
}
RESERVED = Limits(100, 3, reserved_connections=3)
GOOD_CONFIG = {
    "pool_mode": "transaction",
    "max_prepared_statements": "200",
    "server_idle_timeout": "600",
    "server_tls_sslmode": "verify-full",
    "client_tls_sslmode": "require",
    "listen_addr": "*",
}


def server(limits=RESERVED, settings=None, **facts):
    shot = snapshot(limits=limits, settings=GOOD | (settings or {}), **facts)
    return ServerState("prod", snapshot=shot)


def server_names(seen, fronts=(), tls=None):
    return {each.name: each for each in server_advice(seen, fronts, tls)}


def pooler(version="1.24.1", max_client_conn=500, descriptors=None, mode="transaction", **config):
    facts = PoolerFacts(
        version,
        max_client_conn=max_client_conn,
        settings=GOOD_CONFIG | config,
        descriptors=descriptors,
    )
    shot = poolers.pooled(poolers.pool(pool_mode=mode), facts=facts)
    return pooler_state(snapshot=shot)


def pooler_names(seen, behind=None, tls=None):
    return {each.name: each for each in pooler_advice(seen, behind, tls)}


def test_good_settings_need_no_advice():
    assert server_names(server()) == {}
    assert pooler_names(pooler(), server()) == {}


@pytest.mark.parametrize(
    ("seen", "name", "severity"),
    [
        (server(Limits(100, 3)), "no_reserved_connections", Severity.WARNING),
        (
            server(settings={"idle_in_transaction_session_timeout_seconds": 0.0}),
            "no_idle_in_transaction_timeout",
            Severity.WARNING,
        ),
        (server(track_activities=False), "track_activities_off", Severity.WARNING),
        (
            server(
                Limits(1000, 3, reserved_connections=3),
                {"track_activity_query_size_bytes": 16384.0},
            ),
            "dear_polls",
            Severity.WARNING,
        ),
    ],
)
def test_one_setting_of_a_server(seen, name, severity):
    found = server_names(seen)
    assert set(found) == {name}
    assert found[name].severity is severity


def test_nobody_can_log_in_without_any_reserve_before_16():
    seen = server(Limits(100, 0))
    assert seen.snapshot is not None
    old = replace(seen.snapshot, facts=replace(seen.snapshot.facts, version_num=150004))
    found = server_names(replace(seen, snapshot=old))
    assert found["no_superuser_slots"].severity is Severity.CRITICAL
    ordinary = replace(old, facts=replace(old.facts, limits=Limits(100, 3)))
    assert server_names(replace(seen, snapshot=ordinary)) == {}, "15 has no reserved_connections"


def test_the_cost_of_a_poll_agrees_with_what_was_measured():
    """1,000 backends on 16: 57 ms with texts of 12 kB (docs/performance.md)."""
    dear = server(Limits(1000, 3, 3), {"track_activity_query_size_bytes": 12000.0})
    assert "1000 × 12000 bytes = 12.0 MB, about 58 ms" in server_names(dear)["dear_polls"].found
    few = server(Limits(100, 3, 3), {"track_activity_query_size_bytes": 16384.0})
    assert server_names(few) == {}


def test_the_pools_of_all_poolers_are_summed():
    fronts = [pooler_state(pooler=f"pgb-{n}", capacity=50) for n in (1, 2)]
    advice = server_names(server(), fronts)["pools_oversubscribed"]
    assert "pgb-1 50 + pgb-2 50 = 100 connections, for 94 usable slots" in advice.found
    assert "⌊94 usable ÷ 2 poolers⌋ = 47" in advice.set
    assert server_names(server(), fronts[:1]) == {}
    assert server_names(server(), [replace(fronts[0], capacity=None)]) == {}, "not seen"


def test_a_missing_privilege_says_what_to_grant():
    seen = state(snapshot=None, failure=failure(Reason.UNPRIVILEGED))
    advice = server_names(seen)["missing_privilege"]
    assert (advice.severity, advice.set) == (Severity.CRITICAL, "check the port")
    assert server_names(state(snapshot=None, failure=failure())) == {}


def test_a_weak_sslmode_says_what_to_use():
    warning = "sslmode=prefer does not check; use sslmode=verify-full"
    for found in (server_names(server(), tls=warning), pooler_names(pooler(), tls=warning)):
        assert found["weak_sslmode"].set == "use sslmode=verify-full"


@pytest.mark.parametrize(
    ("changes", "name", "severity", "numbers"),
    [
        ({"mode": "session"}, "session_mode", Severity.WARNING, "shop (pool of 25)"),
        ({"max_prepared_statements": "0"}, "no_prepared_statements", Severity.WARNING, "= 0"),
        (
            {"version": "1.18.0", "max_prepared_statements": "0"},
            "no_prepared_statements",
            Severity.INFO,
            "1.18.0",
        ),
        ({"server_idle_timeout": "0"}, "server_idle_timeout", Severity.WARNING, "= 0"),
        ({"server_tls_sslmode": "prefer"}, "weak_server_tls", Severity.WARNING, "10.0.0.5"),
        ({"client_tls_sslmode": "disable"}, "no_client_tls", Severity.INFO, "*"),
        (
            {"max_client_conn": 1000, "descriptors": 1024},
            "file_descriptors",
            Severity.WARNING,
            "1000 max_client_conn + 25 server connections + 20 of its own = 1045",
        ),
        ({"max_client_conn": 1000}, "file_descriptors", Severity.INFO, "usually gets 1024"),
    ],
)
def test_one_setting_of_a_pooler(changes, name, severity, numbers):
    found = pooler_names(pooler(**changes))
    assert set(found) == {name}
    assert found[name].severity is severity
    assert numbers in found[name].found


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "session", "max_prepared_statements": "0"},
        {"max_client_conn": 1000, "descriptors": 4096},
        {"client_tls_sslmode": "disable", "listen_addr": "127.0.0.1"},
    ],
)
def test_what_a_setting_cannot_hurt_is_not_said(changes):
    assert set(pooler_names(pooler(**changes))) <= {"session_mode"}


def test_the_server_must_not_cut_what_the_pooler_keeps():
    behind = server(settings={"idle_session_timeout_seconds": 300.0})
    assert "cuts idle sessions after 300 s" in (
        pooler_names(pooler(), behind)["server_idle_timeout"].found
    )
    behind = server(settings={"idle_session_timeout_seconds": 900.0})
    assert pooler_names(pooler(), behind) == {}


def test_doubts_about_a_pooler_are_told():
    seen = replace(pooler(), warnings=("so_reuseport is on; list each process",))
    assert pooler_names(seen)["pooler_counts"].set == "list each process"
