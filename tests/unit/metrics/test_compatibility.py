import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from exporter.metrics.caps import OTHER, Cap
from exporter.metrics.compatibility import compatible_families
from exporter.metrics.families import render
from exporter.metrics.peer_activity import STATES
from exporter.snapshot.server import SessionCounters
from tests.support.states import failure, group, snapshot, state

COUNT, DURATION = "pg_stat_activity_count", "pg_stat_activity_max_tx_duration"
DATABASES = {"shop": -1, "empty": 7}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def families(*groups, cap=None, **changes):
    shot = snapshot(*groups, **({"datconnlimit": DATABASES} | changes))
    return compatible_families(state(snapshot=shot), 3, cap or Cap(), 1000.0)


def samples(found):
    """Every sample as a scrape has it, less the label server."""
    return [
        (sample.name, {k: v for k, v in sample.labels.items() if k != "server"}, sample.value)
        for family in text_string_to_metric_families(render(found).decode())
        for sample in family.samples
    ]


def values(found, name, **labels):
    return [
        value
        for each, has, value in samples(found)
        if each == name and labels.items() <= has.items()
    ]


def test_every_series_says_which_server():
    text = render(families(group(1))).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    assert all('server="prod"' in line for line in lines)


def test_whoever_has_a_database_is_counted_but_our_own_session():
    found = families(
        group(3),
        group(2, state="active", backend_type="parallel worker"),
        group(1, state="active", backend_type="autovacuum worker", usename=""),
        group(1, backend_type="walsender"),
        group(1, backend_type="walsender", datname=""),
        group(4, state="starting", datname="", usename=""),
        group(5, state=""),
        group(1, "pgheadroom", "active", usename="pgheadroom", own=True),
    )
    assert sum(values(found, COUNT)) == 3 + 2 + 1 + 1
    assert values(found, COUNT, backend_type="client backend") == [3]
    assert values(found, COUNT, usename="pgheadroom") == []


def test_others_that_share_the_group_of_our_own_session_are_counted():
    found = families(group(3, "pgheadroom", "active", own=True))
    assert values(found, COUNT, application_name="pgheadroom") == [2]


def test_states_that_nobody_is_in_are_zero_with_empty_labels():
    found = families(group(3), group(1, "pgheadroom", "active", own=True))
    for name in (COUNT, DURATION):
        for datname in DATABASES:
            assert Counter(
                labels["state"]
                for each, labels, _ in samples(found)
                if each == name and labels["datname"] == datname
            ) == Counter(STATES)
    zeros = [labels for name, labels, value in samples(found) if name == COUNT and not value]
    assert len(zeros) == 2 * len(STATES) - 1
    assert {text for zero in zeros for key, text in zero.items()} == {"", *STATES, *DATABASES}


def test_addresses_are_no_label_and_the_oldest_transaction_counts():
    transaction = {"state": "idle in transaction"}
    found = families(
        group(2, client_addr="10.0.0.1", transaction_age_seconds=5.0, **transaction),
        group(1, client_addr="10.0.0.2", transaction_age_seconds=9.5, **transaction),
        group(4),
    )
    assert values(found, COUNT, application_name="web", **transaction) == [3]
    assert values(found, DURATION, application_name="web", **transaction) == [9.5]
    assert values(found, DURATION, application_name="web", state="idle") == [0]


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(STATES), st.integers(1, 9)), max_size=60))
def test_sums_by_database_and_state_are_exact_under_any_cap_and_any_name(rows):
    groups = [group(n, app, state, usename=user) for app, user, state, n in rows]
    found = families(*groups, cap=Cap(most=5))
    holders = {
        (labels["usename"], labels["application_name"])
        for name, labels, value in samples(found)
        if name == COUNT and value
    }
    assert len(holders - {(OTHER, OTHER)}) <= 5
    for each in STATES:
        expected = sum(n for _, _, state, n in rows if state == each)
        assert math.fsum(values(found, COUNT, datname="shop", state=each)) == expected


def test_a_duration_beyond_the_cap_is_the_longest_of_the_others():
    groups = [
        group(1, f"a{n}", "active", transaction_age_seconds=float(n)) for n in (1, 2, 9, 3, 4)
    ]
    found = families(group(5, "big", "active"), *groups, cap=Cap(most=1))
    assert values(found, DURATION, application_name=OTHER) == [9]
    assert values(found, COUNT, application_name=OTHER) == [5]


def test_limits_and_settings_are_those_of_the_catalog():
    found = families(
        rolconnlimit={"app": 20, "web": -1},
        settings={"max_connections": 100.0, "statement_timeout_seconds": 1.5},
        started_at=999.5,
        version_text="PostgreSQL 18.4 on x86_64",
    )
    assert values(found, "pg_database_connection_limit", datname="empty") == [7]
    assert values(found, "pg_roles_connection_limit", rolname="web") == [-1]
    assert values(found, "pg_settings_max_connections") == [100]
    assert values(found, "pg_settings_statement_timeout_seconds") == [1.5]
    assert values(found, "pg_settings_reserved_connections") == []
    assert values(found, "pg_postmaster_start_time_seconds") == [999.5]
    version = {"version": "PostgreSQL 18.4 on x86_64", "short_version": "18.4.0"}
    assert values(found, "pg_static", **version) == [1]


def test_databases_have_their_oid():
    counters = SessionCounters(numbackends={("5", "shop"): 3}, tup_fetched={("5", "shop"): 70})
    shot = snapshot(group(1))
    shot = type(shot)(1000.0, 0.5, shot.activity, shot.facts, counters)
    found = compatible_families(state(snapshot=shot), 3, Cap(), 1000.0)
    labels = {"datid": "5", "datname": "shop"}
    assert values(found, "pg_stat_database_numbackends", **labels) == [3]
    assert values(found, "pg_stat_database_tup_fetched", **labels) == [70]
    assert "# TYPE pg_stat_database_tup_fetched untyped" in render(found).decode()


def test_while_polls_fail_the_last_good_series_stay():
    failed = state(group(90), failure=failure())
    found = compatible_families(failed, 9, Cap(), 1000.0)
    assert values(found, "pg_up") == [0]
    assert values(found, "pg_exporter_last_scrape_error") == [1]
    assert values(found, "pg_exporter_scrapes_total") == [9]
    assert values(found, "pg_exporter_last_scrape_duration_seconds") == [0.002]
    assert sum(values(found, COUNT)) == 90


def test_a_server_never_seen_is_down_and_has_no_numbers():
    unseen = state(snapshot=None, failure=failure())
    found = compatible_families(unseen, 1, Cap(), 1000.0)
    assert values(found, "pg_up") == [0]
    assert {name for name, _, _ in samples(found)} == {
        "pg_up",
        "pg_exporter_last_scrape_error",
        "pg_exporter_scrapes_total",
    }


@pytest.mark.parametrize("name", [COUNT, DURATION])
def test_the_seven_labels(name):
    names = {"datname", "state", "usename", "application_name", "backend_type"}
    names |= {"wait_event_type", "wait_event"}
    found = [labels for each, labels, _ in samples(families(group(1))) if each == name]
    assert all(set(labels) == names for labels in found)
