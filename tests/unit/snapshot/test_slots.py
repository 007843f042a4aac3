from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.snapshot.slots import Limits

settings = st.integers(0, 300)
some_limits = st.builds(Limits, st.integers(1, 5000), settings, settings, settings)


@pytest.mark.parametrize(
    ("limits", "usable"),
    [
        (Limits(100, 3), 97),
        (Limits(100, 3, 10), 87),
        (Limits(100, 3, 10, 7), 80),
        (Limits(100, 0), 100),
        (Limits(10, 10), 1),
        (Limits(10, 10, 10), 1),
    ],
)
def test_usable_is_what_an_ordinary_role_can_have(limits: Limits, usable: int) -> None:
    assert limits.usable == usable


def test_free_is_never_below_zero() -> None:
    limits = Limits(100, 3)
    assert [limits.free(used) for used in (0, 90, 97, 99)] == [97, 7, 0, 0]


def test_the_ratio_may_pass_one() -> None:
    assert Limits(100, 3).used_ratio(97) == 1.0
    assert Limits(100, 3).used_ratio(99) > 1.0


@given(some_limits, st.integers(0, 6000))
def test_free_and_used_make_up_the_usable_slots(limits: Limits, used: int) -> None:
    assert limits.free(used) == max(0, limits.usable - used)
    assert (limits.used_ratio(used) >= 1.0) == (limits.free(used) == 0)
    assert 1 <= limits.usable <= limits.max_connections
