from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.snapshot.activity import WORK_WAITS, Activity, BackendGroup, count_by
from tests.support.states import group

names = st.text(max_size=8)
groups = st.lists(
    st.builds(
        group,
        st.integers(1, 50),
        names,
        st.sampled_from(["idle", "active", "idle in transaction", "starting", ""]),
        backend_type=st.sampled_from(["client backend", "autovacuum worker", "walsender", ""]),
        usename=names,
    ),
    max_size=12,
)


@pytest.mark.parametrize(
    ("backend_type", "state", "holds"),
    [
        ("client backend", "active", True),
        ("client backend", "", True),
        ("client backend", "starting", True),
        ("walsender", "starting", False),
        ("walsender", "active", False),
        ("autovacuum worker", "active", False),
        ("parallel worker", "active", False),
        ("checkpointer", "", False),
    ],
)
def test_client_backends_and_those_that_authenticate_hold_a_slot(
    backend_type: str, state: str, *, holds: bool
) -> None:
    assert group(backend_type=backend_type, state=state).holds_slot is holds


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("idle in transaction", True),
        ("idle in transaction (aborted)", True),
        ("idle", False),
        ("active", False),
        ("", False),
    ],
)
def test_idle_in_transaction(state: str, *, expected: bool) -> None:
    assert group(state=state).idle_in_transaction is expected


@pytest.mark.parametrize("wait", sorted(WORK_WAITS))
def test_work_that_is_held_up_waits(wait: str) -> None:
    assert group(state="active", wait_event_type=wait).waiting
    assert not group(state="idle in transaction", wait_event_type=wait).waiting


@pytest.mark.parametrize("wait", ["Client", "Activity", "Timeout", ""])
def test_idleness_is_no_wait(wait: str) -> None:
    assert not group(state="active", wait_event_type=wait).waiting


def test_used_counts_backends_not_groups() -> None:
    seen = Activity(0.0, (group(3), group(4, "worker"), group(9, backend_type="walsender")))
    assert seen.used == 7
    assert [each.backends for each in seen.clients] == [3, 4]


@given(groups)
def test_used_is_the_sum_over_the_clients_however_they_are_counted(
    seen: list[BackendGroup],
) -> None:
    activity = Activity(0.0, tuple(seen))
    counts = count_by(activity.clients, lambda each: (each.application_name, each.usename))
    assert sum(counts.values()) == activity.used
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


@given(groups)
def test_count_by_adds_up_each_key(seen: list[BackendGroup]) -> None:
    expected = Counter(each.state for each in seen for _ in range(each.backends))
    assert dict(count_by(seen, lambda each: each.state)) == dict(expected)
