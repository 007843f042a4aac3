from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.snapshot.activity import Activity, BackendGroup
from exporter.snapshot.holders import (
    Holder,
    RoleHolder,
    growers,
    holders,
    holdings,
    oldest_idle_transaction,
    top_role,
)
from tests.support.states import group

names = st.text(max_size=4)
many = st.lists(
    st.builds(group, st.integers(1, 9), names, usename=names, client_addr=names), max_size=9
)


def activity(*groups: BackendGroup) -> Activity:
    return Activity(0.0, groups)


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (Holder("checkout", "app", "shop", 3), "checkout (app on shop)"),
        (Holder("", "app", "shop", 3), "(no application_name) (app on shop)"),
        (Holder("checkout", "", "shop", 3), "checkout (? on shop)"),
        (Holder("checkout", "app", "", 3), "checkout (app on ?)"),
        (Holder("", "", "", 3), "(no application_name) (authenticating)"),
        (Holder("checkout", "", "", 3), "checkout"),
    ],
)
def test_a_holder_has_a_name_for_people(holder: Holder, name: str) -> None:
    assert holder.name == name


def test_groups_of_one_application_role_and_database_are_one_holder() -> None:
    seen = activity(group(3), group(4, state="active"), group(2, usename="other"))
    assert [(each.usename, each.used) for each in holders(seen)] == [("app", 7), ("other", 2)]


def test_what_holds_no_slot_is_no_holder() -> None:
    assert holders(activity(group(3, backend_type="walsender"))) == ()


def test_growth_is_against_the_earlier_reading() -> None:
    before = holdings(activity(group(5), group(5, "gone")))
    after = holders(activity(group(8), group(2, "new")), before)
    assert {each.application_name: each.grown for each in after} == {"web": 3, "new": 2}
    assert {each.grown for each in holders(activity(group(8)))} == {0}


def test_the_busiest_address_is_told_and_how_many_there_are() -> None:
    seen = activity(
        group(2, client_addr="10.0.0.1"),
        group(3, client_addr="10.0.0.2"),
        group(2, client_addr="10.0.0.1", state="active"),
        group(9),
    )
    (holder,) = holders(seen)
    assert (holder.client_addr, holder.client_addrs, holder.used) == ("10.0.0.1", 2, 16)


def many_names(names: int, *others: BackendGroup) -> Activity:
    return activity(*(group(1, f"fn-{number}") for number in range(names)), *others)


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (many_names(70, group(2, "cron", datname="jobs")), ("app", "shop", 70, 70)),
        (many_names(80, group(5, "pooled", usename="web")), ("app", "shop", 80, 80)),
        (many_names(17, group(5, "worker")), ("app", "shop", 22, 18)),
        (many_names(15, group(5, "worker")), None),
        (many_names(10, group(10, "cron", datname="jobs")), None),
        (many_names(11, *(group(1, f"c{n}", datname="jobs") for n in range(10))),
         ("app", "shop", 11, 11)),
        (many_names(10, *(group(1, f"c{n}", datname="jobs") for n in range(10))), None),
        (activity(*(group(1, f"fn-{n}", usename="") for n in range(9))), None),
        (activity(), None),
    ],
)  # fmt: skip
def test_a_role_with_many_names_is_told_where_no_name_says_who(
    seen: Activity, told: tuple[str, str, int, int] | None
) -> None:
    found = top_role(holders(seen))
    assert found == (None if told is None else RoleHolder(*told))


def test_growers_are_the_fastest_first_and_never_those_that_shrink() -> None:
    found = tuple(Holder(str(grown), "app", "shop", 50, grown) for grown in (1, 9, -4, 0, 5, 7))
    assert [each.grown for each in growers(found)] == [9, 7, 5]
    assert [each.grown for each in growers(found, most=9)] == [9, 7, 5, 1]


@given(many, many)
def test_holders_make_up_the_used_slots_largest_first(
    before: list[BackendGroup], after: list[BackendGroup]
) -> None:
    held = holdings(activity(*before))
    seen = activity(*after)
    found = holders(seen, held)
    assert sum(each.used for each in found) == seen.used
    assert [each.used for each in found] == sorted((each.used for each in found), reverse=True)
    for each in found:
        key = (each.application_name, each.usename, each.datname)
        assert each.used - each.grown == held.get(key, 0)


def test_the_oldest_idle_transaction_is_the_one_that_is_silent_longest() -> None:
    silent = "idle in transaction"
    seen = activity(
        group(state=silent, state_age_seconds=5.0, oldest_pid=1),
        group(state="idle in transaction (aborted)", state_age_seconds=9.0, oldest_pid=2),
        group(state="idle", state_age_seconds=99.0, oldest_pid=3),
        group(state=silent, state_age_seconds=None, oldest_pid=4),
    )
    oldest = oldest_idle_transaction(seen)
    assert oldest is not None
    assert (oldest.pid, oldest.seconds, oldest.application_name) == (2, 9.0, "web")


def test_without_an_open_transaction_there_is_none() -> None:
    assert oldest_idle_transaction(activity(group(state="idle", state_age_seconds=9.0))) is None
