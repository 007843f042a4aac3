from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.server import Forecast, LeakWindow, PageWindow
from exporter.snapshot.forecast import (
    Fit,
    Forecaster,
    growth_per_second,
    least_squares,
    retentions,
)
from exporter.snapshot.history import History, Sample

USABLE = 97
EPOCH = 1_700_000_000.0
PAGE_ONLY = Forecast(warning=None, leak=None)
LEAK_ONLY = Forecast(page=None, warning=None)
Level = Callable[[float], float]


def gates(**changes: float) -> Forecast:
    return PAGE_ONLY.model_copy(update=changes)


def page(**changes: float) -> Forecast:
    return PAGE_ONLY.model_copy(update={"page": PageWindow().model_copy(update=changes)})


def replay(
    level: Level, times: Iterable[float], config: Forecast = PAGE_ONLY, since: float | None = None
) -> dict[float, dict[str, float]]:
    """The forecasts at each of `times`, polled then."""
    history, forecaster = History(retentions=retentions(config)), Forecaster(config)
    found = {}
    for time in times:
        history.add(Sample(EPOCH + time, int(level(time))))
        floor = None if since is None else EPOCH + since
        found[time] = forecaster.update(history, USABLE, floor)
    return found


def first(found: dict[float, dict[str, float]], window: str = "page") -> float:
    return min((at for at, forecasts in found.items() if window in forecasts), default=math.inf)


def launch(time: float) -> float:
    """8 -> 240 in 90 s; the usable slots run out at 34.5 s."""
    return 8 + 232 / 90 * min(90.0, max(0.0, time))


def seconds(start: int, end: int) -> list[float]:
    return [float(at) for at in range(start, end)]


class TestLeastSquares:
    def test_an_exact_line(self) -> None:
        assert least_squares([Sample(at, 3 * at + 1) for at in range(5)]) == Fit(3.0, 1.0)

    def test_a_known_noisy_fit(self) -> None:
        fit = least_squares([Sample(0, 1), Sample(1, 3), Sample(2, 2), Sample(3, 5)])
        assert fit.slope == pytest.approx(1.1)
        assert fit.r_squared == pytest.approx(0.691428, abs=1e-6)

    @pytest.mark.parametrize(
        "samples", [[], [Sample(5, 9)], [Sample(5, 1), Sample(5, 9)], [Sample(0, 4), Sample(9, 4)]]
    )
    def test_nothing_to_fit_is_flat(self, samples: list[Sample]) -> None:
        assert least_squares(samples) == Fit(0.0, 0.0)

    @given(
        st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), min_size=2, max_size=60),
        st.sampled_from([0.0, EPOCH]),
    )
    def test_r_squared_is_a_share_and_unix_times_lose_no_digits(
        self, points: list[tuple[int, int]], offset: float
    ) -> None:
        near = least_squares(Sample(at, used) for at, used in points)
        far = least_squares(Sample(at + offset, used) for at, used in points)
        assert 0.0 <= near.r_squared <= 1.0
        assert far == pytest.approx(near)

    @given(st.integers(-9, 9), st.lists(st.integers(0, 500), min_size=2, max_size=40, unique=True))
    def test_any_line_is_found(self, slope: int, times: list[int]) -> None:
        fit = least_squares(Sample(at, 5000 + slope * at) for at in times)
        assert fit.slope == pytest.approx(slope)
        assert fit.r_squared == pytest.approx(float(slope != 0))


class TestGrowth:
    def test_it_is_the_slope_of_the_last_window_only(self) -> None:
        history = History(Sample(at, 50 if at < 30 else 50 + 2 * (at - 30)) for at in range(61))
        assert growth_per_second(history) == pytest.approx(2.0)
        assert growth_per_second(history, 60.0) < 2.0  # type: ignore[operator]

    def test_it_may_fall(self) -> None:
        assert growth_per_second(History(Sample(at, 90 - at) for at in range(20))) == -1.0

    @pytest.mark.parametrize(
        "times",
        [
            (),
            (0.0,),
            (0.0, 5.0, 12.0),  # too few
            (0.0, 1.0, 2.0, 3.0, 4.0),  # too close together
            (0.0, 1.0, 2.0, 3.0, 12.0, 13.0),  # a hole in the middle
        ],
    )
    def test_too_little_is_no_growth(self, times: tuple[float, ...]) -> None:
        assert growth_per_second(History(Sample(at, int(at)) for at in times)) is None

    def test_a_late_poll_or_two_is_no_hole(self) -> None:
        times = [at for at in range(20) if at not in {12, 13, 14}]
        assert growth_per_second(History(Sample(at, at) for at in times)) == pytest.approx(1.0)


class TestTheLaunch:
    """The promise: 16 s of lead or more, in the middle, and never less than 13 s."""

    @pytest.mark.parametrize("interval", [1.0, 2.0])
    @pytest.mark.parametrize("started", [-700.0, -10.0])
    @pytest.mark.parametrize("phase", [0.0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8])
    def test_it_is_seen_coming(self, interval: float, started: float, phase: float) -> None:
        times, now = [], started + phase
        while now < 34.5:
            times.append(now)
            now += 1.0 if launch(now) > 0.4 * USABLE else interval
        found = replay(launch, times, Forecast())
        at = first(found)
        assert 34.5 - at >= 18.0
        assert found[at]["page"] == pytest.approx(34.5 - at, rel=0.6)

    def test_the_forecast_closes_in_on_the_truth(self) -> None:
        found = replay(launch, seconds(-700, 34))
        assert found[30.0]["page"] == pytest.approx(4.5, abs=0.6)

    def test_reserved_slots_that_are_taken_too_leave_no_time_and_never_less(self) -> None:
        found = replay(lambda at: min(100, launch(at)), seconds(-60, 40))
        assert found[37.0] == {"page": 0.0}

    def test_nothing_is_left_of_it_once_the_slots_are_taken(self) -> None:
        found = replay(lambda at: min(USABLE, launch(at)), seconds(-60, 80))
        assert found[36.0]["page"] == 0.0
        assert not found[70.0]


class TestGates:
    """Each test names a rise that passes, and the one gate that refuses it."""

    def test_the_floor(self) -> None:
        def small(at: float) -> float:
            return 5 + min(32.0, max(0.0, 2 * at))

        assert first(replay(small, seconds(-60, 40))) == math.inf
        assert first(replay(small, seconds(-60, 40), gates(min_used_ratio=0.3))) < 40

    def test_the_fit(self) -> None:
        # A step: as much of a new high as a ramp, but no line.
        def jumpy(at: float) -> float:
            return 20 if at < 0 else 65

        assert first(replay(jumpy, seconds(-60, 20), gates(min_r_squared=0.8))) == math.inf
        assert first(replay(jumpy, seconds(-60, 20), gates(min_r_squared=0.5))) < 20

    def test_the_new_high(self) -> None:
        # A wave that was there before: nothing that the lookback has not seen.
        def wave(at: float) -> float:
            return 50 + 20 * math.sin(at / 20)

        assert first(replay(wave, seconds(-700, 300))) == math.inf
        assert first(replay(wave, seconds(-700, 300), page(lookback=1.0))) < 300

    @pytest.mark.parametrize("change", [{"breakout_slots": 35}, {"breakout_ratio": 0.35}])
    def test_the_new_high_is_high_enough(self, change: dict[str, float]) -> None:
        def rise(at: float) -> float:
            return 30 + min(30.0, max(0.0, at))

        assert first(replay(rise, seconds(-60, 60))) < 60
        assert first(replay(rise, seconds(-60, 60), gates(**change))) == math.inf

    def test_the_horizon(self) -> None:
        def slow(at: float) -> float:
            return 30 + 0.5 * max(0.0, at)

        times = seconds(-60, 130)
        assert first(replay(slow, times, page(horizon=30.0))) > 100
        assert first(replay(slow, times, page(horizon=100.0))) < 60

    def test_the_consecutive_hits(self) -> None:
        one, four = (first(replay(launch, seconds(-60, 34), page(hits=hits))) for hits in (1, 4))
        assert four == one + 3

    def test_hits_that_are_interrupted_do_not_count(self) -> None:
        # Every third poll is below the floor, so that there are never three in a row.
        def dented(at: float) -> float:
            return 10 if at % 3 == 0 else launch(at)

        config = gates(min_r_squared=0.01)
        assert first(replay(dented, seconds(-60, 34), config)) == math.inf
        two = config.model_copy(update={"page": PageWindow(hits=2)})
        assert first(replay(dented, seconds(-60, 34), two)) < 34

    def test_one_sample_is_one_hit_however_often_it_is_asked(self) -> None:
        history, forecaster = History(), Forecaster(page(hits=3))
        for at in seconds(0, 16):
            history.add(Sample(at, int(launch(at) + 20)))
        assert [forecaster.update(history, USABLE) for _ in range(9)] == [{}] * 9

    def test_a_steady_ramp_need_not_gain_the_breakout_within_a_window(self) -> None:
        # 15 slots in 34 s: less than the breakout in one window of 20 s, more in two.
        def steady(at: float) -> float:
            return 20 + 0.44 * max(0.0, at)

        assert first(replay(steady, seconds(-700, 175))) < 130

    def test_a_count_that_falls_from_a_new_high(self) -> None:
        def falling(at: float) -> float:
            return 20 if at < 0 else 95 - at

        found = replay(falling, seconds(-60, 38))
        assert not {at for at, forecasts in found.items() if forecasts and at >= 20}

    def test_enough_readings(self) -> None:
        assert first(replay(lambda at: launch(at) + 30, seconds(0, 10))) == math.inf
        few = [at for at in range(34) if at % 8 == 0]
        assert first(replay(launch, few, page(hits=1))) == math.inf

    def test_a_hole_in_the_window(self) -> None:
        def steep(at: float) -> float:
            return 20 + 2.5 * max(0.0, at)

        times = [at for at in seconds(-60, 22) if not 4 < at < 17]
        late = replay(steep, [at for at in seconds(-60, 22) if not 14 < at < 17], page(hits=1))
        assert {at for at in (17.0, 18.0, 19.0) if late[at]}
        assert first(replay(steep, times, page(hits=1))) == math.inf


class TestTheReference:
    def test_a_peak_of_an_incident_that_is_over_hides_nothing(self) -> None:
        def twice(at: float) -> float:
            return launch(at) if at >= 0 else 95 if -400 < at < -300 else 8

        assert first(replay(twice, seconds(-700, 34))) == math.inf
        assert first(replay(twice, seconds(-700, 34), since=-200.0)) < 20

    def test_what_came_after_the_incident_still_counts(self) -> None:
        def twice(at: float) -> float:
            return launch(at) if at >= 0 else 80 if -100 < at < -50 else 8

        assert first(replay(twice, seconds(-700, 34), since=-200.0)) == math.inf

    def test_an_incident_that_ended_just_now_leaves_no_reference_but_the_present(self) -> None:
        found = replay(lambda at: 40 + 2 * max(0.0, at), seconds(-60, 20), since=30.0)
        assert first(found) == math.inf

    def test_without_a_past_the_start_of_the_window_is_the_reference(self) -> None:
        assert first(replay(lambda at: 45 + at, seconds(0, 18), page(hits=1))) == math.inf
        assert first(replay(lambda at: 45 + at, seconds(0, 30), page(hits=1))) == 20

    def test_half_a_past_is_better_than_none(self) -> None:
        # 30 s after the start nothing is two windows old; what is one window old was as high.
        def dip(at: float) -> float:
            return 62 if at < 9 else 30 + max(0.0, 2 * (at - 12))

        assert first(replay(dip, seconds(0, 32))) == math.inf
        assert first(replay(dip, seconds(9, 32))) < 32


def test_a_window_that_is_null_is_never_forecast() -> None:
    assert first(replay(launch, seconds(-60, 34), Forecast(page=None))) == math.inf


def test_a_slower_ramp_is_a_warning_before_it_is_a_page() -> None:
    found = replay(lambda at: 10 + 0.25 * max(0.0, at), seconds(-700, 340), Forecast(leak=None))
    assert 340 - first(found, "warning") > 150
    assert first(found, "warning") < first(found, "page")


@pytest.mark.parametrize("speed", [5.0, 60.0])
def test_a_scaled_configuration_sees_the_same_picture_sooner(speed: float) -> None:
    def scaled(config: Forecast) -> Forecast:
        durations = ("window", "horizon", "step", "lookback")
        windows = {
            name: {key: value / speed if key in durations else value for key, value in each.items()}
            for name, each in config.model_dump(include={"page", "warning", "leak"}).items()
        }
        return Forecast.model_validate(config.model_dump() | windows)

    times = [float(at) for at in range(0, 7200, 2)]
    level = lambda at: 20 + at / 90  # noqa: E731  a line
    plain = replay(level, times)
    history, forecaster = (
        History(retentions=retentions(scaled(Forecast()))),
        Forecaster(scaled(Forecast())),
    )
    assert plain
    found = {}
    for at in times:
        history.add(Sample(EPOCH + at / speed, int(level(at))))
        found[at] = forecaster.update(history, USABLE)
    full = replay(level, times, Forecast())
    assert first(found, "leak") == pytest.approx(first(full, "leak"), abs=130)
    assert first(full, "leak") < 6900
    at = first(full, "leak") + 300
    assert found[at]["leak"] * speed == pytest.approx(full[at]["leak"], rel=0.1)


class TestLeaks:
    def churn(self, seed: int = 1, mean: float = 20.0, spread: float = 4.0) -> Level:
        rng = random.Random(seed)  # noqa: S311  noise, not a secret
        return lambda _: rng.gauss(mean, spread)

    def leak(self, per_minute: float, level: Level) -> Level:
        return lambda at: level(at) + max(0.0, at) * per_minute / 60

    def test_one_connection_a_minute_is_told_most_of_an_hour_ahead(self) -> None:
        times = [float(at) for at in range(-86400, 77 * 60, 10)]
        found = replay(self.leak(1.0, self.churn()), times, LEAK_ONLY)
        assert 30 * 60 < 77 * 60 - first(found, "leak") < 50 * 60

    def test_ordinary_churn_is_no_leak(self) -> None:
        times = [float(at) for at in range(0, 86400, 10)]
        assert first(replay(self.churn(2, 50.0, 7.0), times, LEAK_ONLY), "leak") == math.inf

    def test_deploys_do_not_hide_a_leak(self) -> None:
        churn = self.churn(3)

        def deploys(at: float) -> float:
            return churn(at) + (40 if at % 1800 < 60 else 0)

        times = [float(at) for at in range(-86400, 77 * 60, 10)]
        assert first(replay(self.leak(1.0, deploys), times, LEAK_ONLY), "leak") < 50 * 60

    def test_the_rise_of_every_morning_is_told_once(self) -> None:
        def daily(at: float) -> float:
            return 46 - 30 * math.cos(at / 86400 * math.tau * 2) * (at % 86400 < 43200)

        found = replay(daily, [float(at) for at in range(0, 3 * 86400, 20)], LEAK_ONLY)
        days = {int(at // 86400) for at, forecasts in found.items() if forecasts}
        assert days <= {0}
        short = LEAK_ONLY.model_copy(update={"leak": LeakWindow(lookback=600)})
        found = replay(daily, [float(at) for at in range(0, 3 * 86400, 20)], short)
        assert {int(at // 86400) for at, forecasts in found.items() if forecasts} == {0, 1, 2}

    def test_time_left_is_from_the_last_poll_not_from_the_lowest(self) -> None:
        def spiky(at: float) -> float:
            return 20 + at / 60 + (10 if (EPOCH + at) % 60 < 10 else 0)

        found = replay(spiky, [float(at) for at in range(60 * 60)][::10], LEAK_ONLY)
        at = first(found, "leak")
        assert found[at]["leak"] == pytest.approx(60 * (97 - int(spiky(at))), rel=0.02)

    def test_a_forecast_is_held_between_steps(self) -> None:
        times = [float(at) for at in range(-3600, 60 * 60, 10)]
        found = replay(self.leak(1.0, lambda _: 20.0), times, LEAK_ONLY)
        at = first(found, "leak")
        assert at % 60 == -EPOCH % 60
        assert found[at] == found[at + 10] != found[at + 60]
