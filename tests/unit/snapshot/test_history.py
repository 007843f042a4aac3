from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporter.snapshot.history import History, Retention, Sample

SHORT = (Retention(10, 0), Retention(60, 5), Retention(300, 20))

counts = st.lists(st.integers(0, 500), max_size=400)
gaps = st.floats(0.1, 7.0)


def filled(used: list[int], gap: float = 1.0) -> History:
    history = History(retentions=SHORT)
    for index, count in enumerate(used):
        history.add(Sample(index * gap, count))
    return history


def test_an_empty_history_has_no_last_sample() -> None:
    assert History().last is None
    assert History().since(0) == []
    assert len(History()) == 0


def test_recent_samples_are_all_kept() -> None:
    history = filled(list(range(11)))
    assert [each.used for each in history] == list(range(11))
    assert history.last == Sample(10, 10)


def test_a_thinned_step_keeps_its_lowest_and_highest_at_their_own_times() -> None:
    history = filled([5, 9, 3, 4, 5] + [7] * 20)
    assert history.between(0, 5) == [Sample(1, 9), Sample(2, 3)]


def test_a_step_that_never_changes_is_one_sample() -> None:
    assert filled([7] * 25).between(5, 10) == [Sample(5, 7)]


def test_what_is_older_than_the_last_retention_is_gone() -> None:
    history = filled(list(range(1000)))
    assert next(iter(history)).at >= 999 - 300


def test_a_day_at_one_poll_a_second_stays_small() -> None:
    history = History(Sample(at, at * 7919 % 60) for at in range(90000))
    assert len(history) < 750


def test_since_and_between_take_the_start_and_leave_the_end() -> None:
    history = filled(list(range(9)))
    assert [each.at for each in history.since(6)] == [6, 7, 8]
    assert [each.at for each in history.between(6, 8)] == [6, 7]
    assert history.between(8, 6) == []


def test_two_samples_of_one_time_are_one() -> None:
    history = filled([1, 2])
    history.add(Sample(1.0, 50))
    assert history.last == Sample(1.0, 2)


def test_a_clock_set_back_forgets_the_future_only() -> None:
    history = filled(list(range(100)))
    history.add(Sample(50.5, 3))
    assert history.last == Sample(50.5, 3)
    assert max(each.at for each in history) == 50.5
    assert history.between(0, 50)
    history.add(Sample(51.5, 4))
    assert [each.used for each in history.since(50.5)] == [3, 4]


def test_lows_are_the_lowest_of_each_whole_step() -> None:
    history = filled([9, 8, 2, 7, 6, 5, 4, 3, 9, 9])
    assert [each.used for each in history.lows(0, 9, 3)] == [2, 5, 3]
    # 1 to 8 holds only one whole step, 3 to 6.
    assert [each.used for each in history.lows(1, 8, 3)] == [5]


def test_lows_of_thinned_steps_are_not_raised_by_their_highs() -> None:
    spikes = [90 if at % 20 == 11 else 10 for at in range(300)]
    assert {each.used for each in filled(spikes).lows(0, 300, 20)} == {10}


@given(counts, gaps)
def test_samples_stay_in_order_and_the_extremes_of_a_step_survive(
    used: list[int], gap: float
) -> None:
    history = filled(used, gap)
    kept = list(history)
    assert [each.at for each in kept] == sorted({each.at for each in kept})
    assert history.since(float("-inf")) == kept
    last = history.last
    if last is not None:
        start = (last.at - 280) // 20 * 20 + 20
        inside = [count for index, count in enumerate(used) if index * gap >= start]
        found = [each.used for each in history.since(start)]
        assert (min(found), max(found)) == (min(inside), max(inside))


@given(counts, gaps)
def test_a_history_of_a_history_is_equal(used: list[int], gap: float) -> None:
    history = filled(used, gap)
    assert list(History(history, retentions=SHORT)) == list(history)
