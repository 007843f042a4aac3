"""The forecasts that pgheadroom runs, over any history, and when each rule holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from exporter.config.server import Forecast, Polling, WarningWindow
from exporter.poll import CLIMBING_RATIO
from exporter.snapshot.forecast import Forecaster, growth_per_second, retentions
from exporter.snapshot.history import History, Sample
from tools.simulation.clients import USABLE

#: Episodes closer than this are one page.
MERGE = 120.0
#: An incident ends when no rule has held for this long (`keep_firing_for` of the shipped rules).
KEEP_FIRING = 300.0

GATES: Mapping[str, Forecast] = {
    "": Forecast(),
    "earlier ": Forecast(
        warning=WarningWindow(hits=5),
        leak=None,
        min_used_ratio=0.5,
        breakout_ratio=0.1,
    ),
}
STATIC = {"85 % of the slots": 0.85, "70 % of the slots": 0.70}
PAGE, WARNING, LEAK = "page", "warning", "leak"
RULES = (PAGE, WARNING, LEAK, *(f"earlier {name}" for name in (PAGE, WARNING)), *STATIC)


class Watcher:
    """Polls as pgheadroom does, and notes when each rule holds, once for each set of gates."""

    def __init__(self, interval: float | None = None) -> None:
        self._interval = interval
        self._polling = Polling()
        self._history = History(retentions=retentions(Forecast()))
        self._forecasters = {prefix: Forecaster(gates) for prefix, gates in GATES.items()}
        self._held_at: dict[str, float] = {}
        self._ended_at: dict[str, float] = {}
        self.held: defaultdict[str, list[float]] = defaultdict(list)

    def poll(self, now: float, used: int) -> float:
        """Look once; seconds until the next look."""
        self._history.add(Sample(now, used))
        static = [name for name, ratio in STATIC.items() if used >= ratio * USABLE]
        self._note(now, static)
        for prefix, forecaster in self._forecasters.items():
            found = forecaster.update(self._history, USABLE, self._ended_at.get(prefix))
            self._note(now, [prefix + window for window in found])
            self._incident(prefix, now, holds=bool(found or static))
        if self._interval is not None:
            return self._interval
        growth = growth_per_second(self._history) or 0.0
        busy = used > self._polling.busy_above * USABLE or growth > CLIMBING_RATIO * USABLE
        return self._polling.busy_interval if busy else self._polling.interval

    def _note(self, now: float, rules: Iterable[str]) -> None:
        for rule in rules:
            self.held[rule].append(now)

    def _incident(self, prefix: str, now: float, *, holds: bool) -> None:
        if holds:
            self._held_at[prefix] = now
        elif now - self._held_at.get(prefix, now) > KEEP_FIRING:
            self._ended_at[prefix] = self._held_at.pop(prefix)

    def pages(self) -> dict[str, int]:
        """Episodes in the times at which each rule held."""
        return {rule: _episodes(self.held[rule]) for rule in RULES}


def _episodes(held: Sequence[float]) -> int:
    return bool(held) + sum(later - earlier > MERGE for earlier, later in pairwise(held))
