from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.caps import Cap
from exporter.metrics.families import render
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.snapshot.pool import ClientGroup
from exporter.snapshot.server import Probe, Reason
from tests.support.poolers import VERSIONS, captured_snapshot, pool, pooled, pooler_state
from tests.support.states import failure, group, state


def samples(families):
    return {
        (
            sample.name,
            *sorted((k, v) for k, v in sample.labels.items() if k != "server"),
        ): sample.value
        for family in text_string_to_metric_families(render(families).decode())
        for sample in family.samples
    }


def of(pooler_state, caps=None, now=1000.0):
    """The samples less the label pooler, which each of them has."""
    found = samples(pooler_families(pooler_state, caps or PoolerCaps(), now))
    assert all(("pooler", "pgb-1") in key for key in found)
    return {
        tuple(part for part in key if part[0] != "pooler"): value for key, value in found.items()
    }


def value(found, name, **labels):
    return found.get((f"pgheadroom_{name}", *sorted(labels.items())))


SHOP = {"database": "shop", "user": "app"}


def test_a_pool_over_its_size_and_reserve():
    found = of(pooler_state(pool(sv_active=20, sv_idle=3, cl_waiting=4, wait=2.25)))
    assert value(found, "pool_connections_used", **SHOP) == 20
    assert value(found, "pool_connections_max", **SHOP) == 25
    assert value(found, "pool_used_ratio", **SHOP) == 0.8
    assert value(found, "pool_clients_waiting", **SHOP) == 4
    assert value(found, "pool_wait_seconds", **SHOP) == 2.25
    assert value(found, "pool_paused", database="shop") == 0
    assert value(found, "pooler_up") == 1
    assert value(found, "pooler_info", version="1.24.1") == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_series(version):
    found = of(pooler_state(snapshot=captured_snapshot(version)))
    app = {"database": "app", "user": "plain"}
    assert value(found, "pool_used_ratio", **app) == 5 / 6
    assert value(found, "pool_clients_waiting", **app) == 46
    assert value(found, "pooler_clients_used_ratio") == 0.55
    assert not [key for key in found if ("database", "pgbouncer") in key]


def test_what_is_not_known_gives_no_series():
    bare = replace(pool(sv_active=None), cl_waiting=None, maxwait=None)
    names = {key[0] for key in of(pooler_state(snapshot=pooled(bare, databases=())))}
    unseen = {key[0] for key in of(pooler_state(snapshot=None))}
    for name in ("pool_used_ratio", "pool_clients_waiting", "pool_wait_seconds", "pool_paused",
                 "pooler_clients_used_ratio", "pooler_limit_used_ratio"):  # fmt: skip
        assert f"pgheadroom_{name}" not in names | unseen
    assert "pgheadroom_pooler_up" in unseen


def test_a_failed_poll_publishes_the_last_good_series_again():
    failed = pooler_state(
        pool(cl_waiting=3), failure=failure(), failing_since=1010.0, failures={Reason.NETWORK: 2}
    )
    found = of(failed, now=1025.0)
    assert value(found, "pooler_up") == 0
    assert value(found, "pool_clients_waiting", **SHOP) == 3
    assert value(found, "pooler_snapshot_age_seconds") == 25
    assert value(found, "pooler_poll_failing_seconds") == 15
    assert value(found, "pooler_poll_failures_total", reason="network") == 2
    assert value(found, "pooler_poll_failure", reason="network") == 1


def test_the_probe_the_waits_and_the_thresholds():
    found = of(
        pooler_state(
            pool(),
            probes={"pgb-1": Probe("pgb-1", 1000.0, 5.5, Reason.LATE, "no answer in time")},
            waits={"shop": 0.125},
            thresholds={"pool_used": 0.9},
            warnings=("so_reuseport is on",),
        )
    )
    assert value(found, "connect_probe_success", via="pgb-1", reason="late") == 0
    assert value(found, "connect_probe_seconds", via="pgb-1") == 5.5
    assert value(found, "pool_wait_per_transaction_seconds", database="shop") == 0.125
    assert value(found, "threshold", threshold="pool_used") == 0.9
    assert value(found, "pooler_warnings") == 1


def test_beyond_the_cap_pools_are_put_together():
    pools = [pool(user=f"u{n:02}", sv_active=n, cl_waiting=n, wait=float(n)) for n in range(10)]
    found = of(pooler_state(*pools), PoolerCaps(pools=Cap(most=3)))
    other = {"database": "__other__", "user": "__other__"}
    assert value(found, "pool_clients_waiting", database="shop", user="u09") == 9
    assert value(found, "pool_clients_waiting", **other) == sum(range(7))
    assert value(found, "pool_connections_used", **other) == sum(range(7))
    assert value(found, "pool_wait_seconds", **other) == 6
    assert value(found, "pool_used_ratio", **other) == 6 / 25
    waits = [v for key, v in found.items() if key[0] == "pgheadroom_pool_clients_waiting"]
    assert (len(waits), sum(waits)) == (4, sum(range(10)))


def test_clients_only_where_they_are_asked_for():
    clients = tuple(ClientGroup("shop", "app", f"fn{n}", "active", n + 1) for n in range(5))
    shot = pooled(pool(), clients=clients)
    told = of(pooler_state(snapshot=shot))
    assert not [key for key in told if key[0] == "pgheadroom_pool_clients"]
    found = of(pooler_state(snapshot=shot, exports_clients=True), PoolerCaps(clients=Cap(most=2)))
    lines = {k: v for k, v in found.items() if k[0] == "pgheadroom_pool_clients"}
    assert sum(lines.values()) == 15
    assert len(lines) == 3


def test_what_all_poolers_of_a_server_may_open():
    seen = samples(server_families(state(group(3), pool_capacity=120), Caps(), 1000.0))
    assert value(seen, "pool_capacity") == 120
    assert value(seen, "pool_capacity_ratio") == 120 / 97
    alone = samples(server_families(state(group(3)), Caps(), 1000.0))
    assert value(alone, "pool_capacity_ratio") is None
