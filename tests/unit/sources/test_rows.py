"""From rows to values."""

from __future__ import annotations

import pytest

from exporter.snapshot.providers import Reserve
from exporter.snapshot.server import SessionCounters
from exporter.snapshot.slots import Limits
from exporter.sources import rows
from exporter.sources.rows import Names

NAMES = Names({5: "shop"}, {10: "app"})
AT = 1_800_000_000.5


def row(**changes: object) -> tuple[object, ...]:
    values: dict[str, object] = {
        "datid": 5,
        "usesysid": 10,
        "application_name": b"web",
        "client_addr": b"10.0.0.1",
        "state": b"active",
        "wait_event_type": b"Lock",
        "wait_event": b"relation",
        "backend_type": b"client backend",
        "backends": 3,
        "oldest": 1500 << 22 | 4_194_303,
        "transaction_age": 2.5,
        "query_age": 1.25,
        "stale": 0,
        "at": AT,
        "privileged": True,
        "own_pid": 99,
    }
    return tuple((values | changes).values())


def test_a_row_becomes_a_group() -> None:
    activity = rows.activity([row()], NAMES)
    (group,) = activity.groups
    assert activity.at == AT
    assert (group.datname, group.usename, group.application_name) == ("shop", "app", "web")
    assert (group.client_addr, group.state, group.backend_type) == (
        "10.0.0.1",
        "active",
        "client backend",
    )
    assert (group.wait_event_type, group.wait_event, group.backends) == ("Lock", "relation", 3)
    assert (group.state_age_seconds, group.oldest_pid) == (1.5, 4_194_303)
    assert (group.transaction_age_seconds, group.query_age_seconds) == (2.5, 1.25)


def test_null_is_an_empty_label_and_no_age() -> None:
    empty = dict.fromkeys(("datid", "usesysid", "application_name", "client_addr", "state"))
    nothing = dict.fromkeys(("wait_event_type", "wait_event", "backend_type", "oldest"))
    (group,) = rows.activity(
        [row(**empty, **nothing, transaction_age=None, query_age=None)], NAMES
    ).groups
    assert {group.datname, group.usename, group.application_name, group.client_addr} == {""}
    assert {group.state, group.wait_event, group.backend_type} == {""}
    assert group.state_age_seconds is group.oldest_pid is None
    assert group.transaction_age_seconds is group.query_age_seconds is None


@pytest.mark.parametrize("milliseconds", [-1, -2500, -86_400_000])
def test_what_began_after_the_statement_is_new_and_keeps_its_pid(milliseconds: int) -> None:
    (group,) = rows.activity(
        [row(oldest=milliseconds << 22 | 77, transaction_age=-0.1, query_age=-0.1)], NAMES
    ).groups
    assert (group.state_age_seconds, group.oldest_pid) == (0.0, 77)
    assert (group.transaction_age_seconds, group.query_age_seconds) == (0.0, 0.0)


def test_an_oid_without_a_name_is_shown_as_one() -> None:
    (group,) = rows.activity([row(datid=77, usesysid=88)], NAMES).groups
    assert (group.datname, group.usename) == ("(oid 77)", "(oid 88)")
    assert not NAMES.knows([row(), row(datid=77)])
    assert not NAMES.knows([row(usesysid=88)])
    assert NAMES.knows([row(), row(datid=None, usesysid=None)])


def test_names_in_other_encodings_are_readable_and_unique() -> None:
    assert rows.text("café".encode()) == "café"
    assert rows.text("café".encode("latin-1")) == r"caf\xe9"


def test_privilege_is_read_from_every_poll() -> None:
    assert rows.privileged([row()])
    assert not rows.privileged([row(privileged=False)])
    assert not rows.privileged([])


def test_only_limits_that_are_set_are_kept() -> None:
    names = rows.names(
        [(1, b"a", -1), (2, b"b", 7), (3, b"c", -2)], [(4, b"r", 0, 0), (5, b"s", -1, 9)]
    )
    assert names.databases == {1: "a", 2: "b", 3: "c"}
    assert names.database_limits == {"b": 7}
    assert names.role_limits == {"r": 0}
    assert names.datconnlimit == {"a": -1, "b": 7, "c": -2}
    assert names.rolconnlimit == {"r": 0, "s": 9}


def test_settings_become_facts() -> None:
    version, text = b"16.14 (Debian 16.14-1)", b"PostgreSQL 16.14"
    settings = (version, 160014, 100, 3, 2, True, text, 9.5, None)
    known = Names(role_limits={"app": 5}, datconnlimit={"shop": -1}, rolconnlimit={"app": 5})
    facts = rows.facts(settings, {"max_connections": 100.0}, known, Reserve("azure"), "primary")
    assert (facts.version, facts.version_num, facts.role) == ("16.14", 160014, "primary")
    assert facts.limits == Limits(100, 3, 2, 10)
    assert facts.role_limits == {"app": 5}
    assert (facts.version_text, facts.started_at) == ("PostgreSQL 16.14", 9.5)
    assert facts.settings == {"max_connections": 100.0}
    assert (facts.datconnlimit, facts.rolconnlimit) == ({"shop": -1}, {"app": 5})
    on_rds = (b"13.1", 130001, 100, 3, 0, False, b"", 9.5, 2)
    standby = rows.facts(on_rds, {}, Names(), Reserve("rds"), "standby")
    assert (standby.role, standby.track_activities) == ("standby", False)
    assert standby.limits == Limits(100, 3, 0, 2)


def test_counters_are_summed_over_the_databases() -> None:
    counters = rows.counters([(5, b"shop", 3, 10, 1, 2, 3, 70), (6, b"web", 4, 20, 0, 0, 1, 80)])
    numbackends, fetched = ({("5", "shop"): a, ("6", "web"): b} for a, b in ((3, 4), (70, 80)))
    assert counters == SessionCounters(30, 1, 2, 4, numbackends, fetched)


def test_a_server_that_counts_no_sessions_has_none() -> None:
    counters = rows.counters([(5, b"shop", 3, None, None, None, None, 70)])
    shop = ("5", "shop")
    assert counters == SessionCounters(numbackends={shop: 3}, tup_fetched={shop: 70})


def test_the_group_of_our_own_session_is_marked() -> None:
    ours, theirs = rows.activity([row(own_pid=4_194_303), row(oldest=None)], NAMES).groups
    assert ours.own
    assert not theirs.own


def test_settings_in_units_of_time_are_seconds() -> None:
    found = [
        (b"max_connections", b"100", None),
        (b"statement_timeout", b"1500", b"ms"),
        (b"authentication_timeout", b"2", b"min"),
        (b"tcp_keepalives_idle", b"7200", b"s"),
        (b"idle_session_timeout", b"-1", b"ms"),
    ]
    assert rows.parameters(found) == {
        "max_connections": 100.0,
        "statement_timeout_seconds": 1.5,
        "authentication_timeout_seconds": 120.0,
        "tcp_keepalives_idle_seconds": 7200.0,
        "idle_session_timeout_seconds": -1.0,
    }
