"""When the usable slots run out at the current rate, and whether that is worth saying.

A straight line through a noisy count always points somewhere, so a forecast is given only while
its gates hold (docs/forecast.md has the reason and the false-page rate of each).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from operator import mul
from statistics import median
from typing import NamedTuple

from exporter.config.server import Forecast, Window
from exporter.snapshot.history import History, Retention, Sample

MIN_READINGS = 4
#: A line through two clusters with a hole between them is no trend: no hole may be longer than this
#: many readings, or than this part of the window where a few late polls make it longer.
MAX_GAP_READINGS = 3
MAX_GAP_RATIO = 0.25
#: With nothing older to compare with, the oldest part of the window stands in for it.
START_RATIO = 0.25
#: Windows before now at which the past ends. With one, a steady ramp would have to gain the whole
#: breakout within a window; with three, churn pages twice as often (docs/forecast.md).
PAST_WINDOWS = 2
#: Seconds: what growth is measured over unless the page window says otherwise.
GROWTH_WINDOW = 20.0
#: A stepped window is compared with a past of this many steps: ten minutes of a day.
_PAST_STEPS = 144
_WINDOWS_IN_FULL = 3
_SLACK = 1.25


class Fit(NamedTuple):
    """A line through samples: slots per second, and R squared between 0 and 1."""

    slope: float
    r_squared: float


def least_squares(samples: Iterable[Sample]) -> Fit:
    """The ordinary least squares line through `samples`.

    R squared is 0 where the count never changes; so is the slope where there are not two times.

    >>> least_squares([Sample(0, 10), Sample(1, 12), Sample(2, 14)])
    Fit(slope=2.0, r_squared=1.0)
    """
    points = list(samples)
    if not points:
        return Fit(0.0, 0.0)
    # Sums of Unix times squared would lose the digits that matter; distances from the first do not.
    start, base = points[0].at, points[0].used
    x = [point.at - start for point in points]
    y = [point.used - base for point in points]
    count, sum_x, sum_y = len(points), sum(x), sum(y)
    spread_x = sum(map(mul, x, x)) - sum_x * sum_x / count
    spread_y = sum(map(mul, y, y)) - sum_y * sum_y / count
    if spread_x <= 0 or spread_y <= 0:
        return Fit(0.0, 0.0)
    together = sum(map(mul, x, y)) - sum_x * sum_y / count
    return Fit(together / spread_x, min(1.0, together * together / (spread_x * spread_y)))


def growth_per_second(history: History, window: float = GROWTH_WINDOW) -> float | None:
    """Slots gained per second over the last `window` seconds, gated by nothing but the samples.

    None while they are too few, too close together or too far apart for a line.
    """
    last = history.last
    if last is None:
        return None
    samples = history.since(last.at - window)
    return least_squares(samples).slope if _can_fit(samples, window) else None


def _can_fit(readings: Sequence[Sample], window: float) -> bool:
    if len(readings) < MIN_READINGS or readings[-1].at - readings[0].at < window / 2:
        return False
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(readings)]
    longest = max(gaps)
    return longest <= window * MAX_GAP_RATIO or longest <= MAX_GAP_READINGS * median(gaps)


def retentions(config: Forecast) -> tuple[Retention, ...]:
    """How long a history must keep what, so that every window of `config` finds its readings.

    >>> from exporter.snapshot.history import DEFAULT_RETENTIONS
    >>> retentions(Forecast()) == DEFAULT_RETENTIONS
    True
    """
    windows = [each for each in (config.page, config.warning, config.leak) if each is not None]
    stepped = [each for each in windows if each.step]
    longest = max((each.window for each in windows if not each.step), default=GROWTH_WINDOW)
    reach = max((PAST_WINDOWS * each.window + each.lookback for each in windows), default=longest)
    step = min((each.step for each in stepped), default=longest)
    past_step = max((_past_step(each) for each in stepped), default=step)
    return (
        Retention(longest * _WINDOWS_IN_FULL, 0.0),
        Retention(max((each.window for each in stepped), default=reach) * _SLACK, step),
        Retention(reach + past_step, past_step),
    )


def _past_step(window: Window) -> float:
    return max(window.step, window.lookback / _PAST_STEPS)


class Forecaster:
    """The forecasts of one server; it remembers how often in a row the gates of each have held."""

    def __init__(self, config: Forecast) -> None:
        named = {"page": config.page, "warning": config.warning, "leak": config.leak}
        self._watches = {
            name: _Watch(config, window) for name, window in named.items() if window is not None
        }

    def update(
        self, history: History, usable: int, breakout_floor_since: float | None = None
    ) -> dict[str, float]:
        """Seconds until `usable` slots are used, by window, where the gates hold; call once a poll.

        What happened before `breakout_floor_since`, when the conditions of the last incident
        ceased, is no reference for a new high: its peak would hide the next ramp.
        """
        found = {}
        for name, watch in self._watches.items():
            seconds = watch.update(history, usable, breakout_floor_since)
            if seconds is not None:
                found[name] = seconds
        return found


class _Watch:
    """One window: the gates, cheapest first, and the consecutive hits."""

    def __init__(self, gates: Forecast, window: Window) -> None:
        self._gates = gates
        self._window = window
        self._read_at: float | None = None
        self._hits = 0
        self._seconds: float | None = None

    def update(self, history: History, usable: int, floor_since: float | None) -> float | None:
        last = history.last
        if last is None:
            return None
        step = self._window.step
        read_at = last.at // step * step if step else last.at
        if read_at != self._read_at:
            self._read_at = read_at
            self._seconds = self._seconds_left(history, read_at, usable, floor_since)
            self._hits = 0 if self._seconds is None else self._hits + 1
        return self._seconds if self._hits >= self._window.hits else None

    def _seconds_left(
        self, history: History, now: float, usable: int, floor_since: float | None
    ) -> float | None:
        """The time left if every gate but the consecutive hits holds."""
        readings = self._readings(history, now)
        if not readings or readings[-1].used < self._gates.min_used_ratio * usable:
            return None
        if not _can_fit(readings, self._window.window):
            return None
        fit = least_squares(readings)
        if fit.slope <= 0 or fit.r_squared < self._gates.min_r_squared:
            return None
        last = history.last or readings[-1]
        seconds = max(0.0, (usable - last.used) / fit.slope)
        if seconds > self._window.horizon:
            return None
        reference = self._reference(history, readings, now, floor_since)
        gates = self._gates
        rise = max(gates.breakout_slots, gates.breakout_ratio * usable)
        return seconds if readings[-1].used >= reference + rise else None

    def _readings(self, history: History, now: float) -> list[Sample]:
        window = self._window
        if window.step:
            return history.lows(now - window.window, now, window.step)
        return history.since(now - window.window)

    def _reference(
        self, history: History, readings: list[Sample], now: float, floor_since: float | None
    ) -> int:
        """The peak of the past, or of the oldest readings there are where there is no past yet."""
        window = self._window
        start = now - PAST_WINDOWS * window.window - window.lookback
        if floor_since is not None:
            start = max(start, floor_since)
        before = self._past(history, start, now - PAST_WINDOWS * window.window)
        before = before or self._past(history, start, now - window.window)
        if not before:
            known = [reading for reading in readings if reading.at >= start] or readings[-1:]
            limit = known[0].at + window.window * START_RATIO
            before = [reading for reading in known if reading.at <= limit]
        return max(sample.used for sample in before)

    def _past(self, history: History, start: float, end: float) -> list[Sample]:
        if self._window.step:
            return history.lows(start, end, _past_step(self._window))
        return history.between(start, end)
