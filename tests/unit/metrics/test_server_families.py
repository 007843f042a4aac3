import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.caps import OTHER, Cap, folded
from exporter.metrics.families import merged, render
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.snapshot.server import Probe, Reason, SessionCounters
from tests.support.states import failure, group, snapshot, state

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def samples(server_state, caps=None, now=1000.0):
    text = render(server_families(server_state, caps or Caps(), now)).decode()
    return {
        (
            sample.name,
            *sorted((k, v) for k, v in sample.labels.items() if k != "server"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((name, *sorted(labels.items())))


def test_headroom_is_client_backends_over_usable_slots():
    found = samples(
        state(
            group(80),
            group(3, state="active", wait_event_type="Lock", wait_event="relation"),
            group(2, backend_type="parallel worker"),
            group(1, backend_type="walsender"),
            group(5, backend_type="autovacuum worker"),
            group(4, state="starting", datname="", usename=""),
        )
    )
    assert value(found, "pgheadroom_connections_used") == 87
    assert value(found, "pgheadroom_connections_usable") == 97
    assert value(found, "pgheadroom_connections_free") == 10
    assert value(found, "pgheadroom_connections_used_ratio") == 87 / 97
    assert value(found, "pgheadroom_connections_max_used_ratio") == 0.87
    assert value(found, "pgheadroom_blocked_backends") == 3
    assert value(found, "pgheadroom_up") == 1


def test_free_never_falls_below_zero_while_the_ratio_passes_one():
    found = samples(state(group(100)))
    assert value(found, "pgheadroom_connections_free") == 0
    assert value(found, "pgheadroom_connections_used_ratio") > 1


def test_idle_clients_wait_for_nothing_that_counts():
    found = samples(state(group(30)))
    assert not [key for key in found if key[0] == "pgheadroom_backends_waiting"]
    waits = {"state": "idle", "wait_event_type": "Client", "wait_event": "ClientRead"}
    assert value(found, "pgheadroom_wait_events", **waits) == 30


def test_the_clocks_are_kept_apart():
    found = samples(
        state(
            group(
                2,
                state="idle in transaction",
                state_age_seconds=5.0,
                transaction_age_seconds=50.0,
                query_age_seconds=40.0,
            ),
            group(1, state="active", transaction_age_seconds=70.0, query_age_seconds=3.0),
            group(9, stale=4, state_age_seconds=900.0),
        )
    )
    assert value(found, "pgheadroom_idle_in_transaction") == 2
    assert value(found, "pgheadroom_idle_in_transaction_oldest_seconds") == 5
    assert value(found, "pgheadroom_transaction_oldest_seconds") == 70
    assert value(found, "pgheadroom_query_oldest_seconds") == 3
    assert value(found, "pgheadroom_connections_stale") == 4


def test_a_failed_poll_republishes_the_last_good_series_and_their_age():
    failed = state(group(90), failure=failure(), failing_since=1010.0, failures={Reason.NETWORK: 3})
    found = samples(failed, now=1025.0)
    assert value(found, "pgheadroom_up") == 0
    assert value(found, "pgheadroom_connections_used") == 90
    assert value(found, "pgheadroom_snapshot_age_seconds") == 25
    assert value(found, "pgheadroom_poll_failing_seconds") == 15
    assert value(found, "pgheadroom_poll_failures_total", reason="network") == 3
    assert value(found, "pgheadroom_poll_failures_total", reason="refused") == 0
    assert value(found, "pgheadroom_poll_failure", reason="network") == 1


def test_limits_of_roles_and_databases_are_ratios_of_those_limits():
    shot = snapshot(
        group(9), group(1, usename="free"), role_limits={"app": 10}, database_limits={"shop": 40}
    )
    found = samples(state(snapshot=shot))
    assert value(found, "pgheadroom_role_connections_used_ratio", usename="app") == 0.9
    assert value(found, "pgheadroom_database_connections_used_ratio", datname="shop") == 0.25
    assert value(found, "pgheadroom_role_connections_used_ratio", usename="free") is None


def test_probes_forecasts_thresholds_and_sessions_have_their_series():
    shot = snapshot(group(1))
    shot = type(shot)(
        shot.taken_at, 0.5, shot.activity, shot.facts, SessionCounters(10, 1, 2, None)
    )
    probe = Probe("direct", 1000.0, 0.25, Reason.REFUSED)
    found = samples(
        state(
            snapshot=shot,
            probes={"direct": probe},
            forecasts={"page": 21.5},
            growth_per_second=2.5,
            thresholds={"connections_warning": 0.7},
        )
    )
    refused = {"via": "direct", "reason": "refused"}
    assert value(found, "pgheadroom_connect_probe_success", **refused) == 0
    assert value(found, "pgheadroom_connect_probe_seconds", via="direct") == 0.25
    assert value(found, "pgheadroom_exhaustion_forecast_seconds", window="page") == 21.5
    assert value(found, "pgheadroom_connections_growth_per_second") == 2.5
    assert value(found, "pgheadroom_threshold", threshold="connections_warning") == 0.7
    assert value(found, "pgheadroom_sessions_total") == 10
    assert value(found, "pgheadroom_sessions_killed_total") is None
    assert value(found, "pgheadroom_server_info", version="18.4", role="primary") == 1
    assert value(found, "pgheadroom_server_start_time_seconds") is None


def test_the_start_of_the_server_is_exported_for_those_who_ask_what_restarted():
    shot = snapshot(group(), started_at=900.0)
    found = samples(state(snapshot=shot))
    assert value(found, "pgheadroom_server_start_time_seconds") == 900


def test_a_server_never_seen_has_no_numbers_to_look_healthy_with():
    found = samples(state(snapshot=None, failure=failure(Reason.UNPRIVILEGED)))
    assert value(found, "pgheadroom_up") == 0
    assert not [key for key in found if key[0].startswith("pgheadroom_connections")]


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, st.integers(1, 9)), max_size=60))
def test_labelled_sums_are_exact_under_any_cap_and_any_name(rows):
    groups = [
        group(n, application_name=app, usename=user, client_addr=addr)
        for app, user, addr, n in rows
    ]
    caps = Caps(who=Cap(most=5), client_addrs=Cap(most=3))
    found = samples(state(*groups), caps)
    used = value(found, "pgheadroom_connections_used")
    who = [v for key, v in found.items() if key[0] == "pgheadroom_connections"]
    assert math.fsum(who) == used == sum(n for *_, n in rows)
    assert len(who) <= 6
    addresses = [v for key, v in found.items() if key[0] == "pgheadroom_client_connections"]
    assert math.fsum(addresses) == sum(n for _, _, addr, n in rows if addr)
    assert len(addresses) <= 4


def test_a_large_newcomer_gets_its_name_at_once_and_small_ones_do_not_flicker():
    cap: Cap[str] = Cap(most=4, sticky_seconds=600)
    first = {"a": 9, "b": 8, "c": 2, "d": 2, "e": 1}
    assert cap.named(first, 0) == {"a", "b", "c", "d"}
    crowded = first | {"e": 3, "launch": 300}
    assert cap.named(crowded, 1) == {"launch", "a", "b", "c"}
    assert cap.named(crowded, 1000) == {"launch", "a", "b", "e"}
    assert folded(first, {"a"}, OTHER) == {"a": 9, OTHER: 13}


def test_families_of_several_servers_are_described_once():
    one = server_families(state(group(1), server="a"), Caps(), 1000.0)
    two = server_families(state(group(2), server="b"), Caps(), 1000.0)
    text = render(merged([one, two])).decode()
    assert text.count("# HELP pgheadroom_connections_used ") == 1
    assert 'pgheadroom_connections_used{server="b"} 2.0' in text
    assert len(one[0].samples) == 1
