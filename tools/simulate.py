"""How early the forecasts are and how often they are wrong, by simulation (docs/forecast.md).

Four ordinary days, and one that rises and falls with the sun, count the pages that nobody needed;
ramps and leaks measure the lead before the usable slots run out. The forecasts are the very ones
that pgheadroom runs. Everything is seeded: the same code prints the same tables.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from exporter.config.server import Forecast, Polling, WarningWindow
from exporter.poll import CLIMBING_RATIO
from exporter.snapshot.forecast import Forecaster, growth_per_second, retentions
from exporter.snapshot.history import History, Sample

DOCUMENT = Path(__file__).parent.parent / "docs" / "forecast.md"
BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"

USABLE = 97
DAY = 86400.0
#: Seconds that a connection lives on average.
LIFE = 20.0
#: Before a ramp begins there is a past to compare with.
WARM_UP = 700.0
#: Episodes closer than this are one page.
MERGE = 120.0
#: An incident ends when no rule has held for this long (`keep_firing_for` of the shipped rules).
KEEP_FIRING = 300.0
#: Seconds. Longer leads are told in minutes.
LONG = 600.0

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

Rate = Callable[[float], float]


class Clients:
    """Clients that come at random and leave after `LIFE` on average."""

    def __init__(self, seed: str, arrivals: Rate, start: float, piece: float = math.inf) -> None:
        self._random = random.Random(seed).random
        self._arrivals = arrivals
        self._piece = piece
        self._now = 0.0
        self.count = round(start)
        self.full_at: float | None = None
        """When the last usable slot was taken for the first time."""

    def at(self, when: float) -> int:
        """The clients there are at `when`, which never goes back."""
        while self._now < when:
            end = min(when, self._now + self._piece)
            self._run(self._arrivals(self._now), end)
            self._now = end
        return self.count

    def _run(self, arrivals: float, end: float) -> None:
        now, count = self._now, self.count
        while True:
            rate = arrivals + count / LIFE
            now -= math.log(1.0 - self._random()) / rate
            if now >= end:
                break
            count += 1 if self._random() * rate < arrivals else -1
            if count >= USABLE and self.full_at is None:
                self.full_at = now
        self.count = count


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


def pages(held: Sequence[float]) -> int:
    """Episodes in the times at which a rule held."""
    return bool(held) + sum(later - earlier > MERGE for earlier, later in pairwise(held))


class Pattern(NamedTuple):
    """A day on which nobody needs a page: churn around a mean, and what comes on top of it."""

    words: str
    mean: Rate
    above: Callable[[random.Random], Rate] = lambda _: lambda _: 0.0


def _cron(_: random.Random) -> Rate:
    return lambda now: 20.0 if now % 300.0 < 10.0 else 0.0  # noqa: PLR2004  as its words say


def _deploys(rng: random.Random) -> Rate:
    starts = sorted(rng.uniform(0.0, DAY) for _ in range(20))

    def above(now: float) -> float:
        ages = [now - start for start in starts if 0.0 <= now - start < 70.0]  # noqa: PLR2004
        return min(30.0, 3.0 * max(ages, default=0.0))

    return above


PATTERNS = {
    "A": Pattern("churn around 40", lambda _: 40.0),
    "B": Pattern("churn around 60, touching 85 % now and then", lambda _: 60.0),
    "C": Pattern(
        "A, and a cron job with 20 connections for 10 s every 5 minutes", lambda _: 40.0, _cron
    ),
    "D": Pattern(
        "A, and 20 deploys a day: 30 more within 10 s, held for a minute", lambda _: 40.0, _deploys
    ),
    "E": Pattern(
        "churn around a mean that goes from 20 at night to 64 by day",
        lambda now: 42.0 - 22.0 * math.cos(math.tau * now / DAY),
    ),
}


def ordinary_day(letter: str, seed: int, seconds: float = DAY) -> Mapping[str, int]:
    """Pages by rule."""
    pattern = PATTERNS[letter]
    name = f"{letter} {seed}"
    clients = Clients(name, lambda now: pattern.mean(now) / LIFE, pattern.mean(0.0), 60.0)
    above = pattern.above(random.Random(name))
    watcher, now = Watcher(), 0.0
    while now < seconds:
        now += watcher.poll(now, min(USABLE, clients.at(now) + round(above(now))))
    return {rule: pages(watcher.held[rule]) for rule in RULES}


class Ramp(NamedTuple):
    """A mean that climbs steadily from `start` to `top`."""

    start: float
    top: float
    seconds: float

    @property
    def slope(self) -> float:
        """Slots a second."""
        return (self.top - self.start) / self.seconds

    def mean(self, now: float) -> float:
        """The mean at `now`; the ramp begins after the warm-up."""
        return min(self.top, self.start + self.slope * max(0.0, now - WARM_UP))

    def arrivals(self, now: float) -> float:
        """What keeps the clients at the mean."""
        climbs = WARM_UP <= now < WARM_UP + self.seconds
        return self.mean(now) / LIFE + (self.slope if climbs else 0.0)

    def __str__(self) -> str:
        return f"{self.start:g} → {self.top:g} in {_duration(self.seconds)}"


LAUNCH = Ramp(8, 240, 90)
RAMPS = (LAUNCH, Ramp(40, 240, 90), Ramp(40, 240, 300), Ramp(40, 240, 900))
#: Connections a minute that are never given back.
LEAKS = (1.0, 1 / 3)


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 3600 else f"{seconds / 3600:g} h"  # noqa: PLR2004


def noisy_leads(ramp: Ramp, seed: int, interval: float | None) -> Mapping[str, float]:
    """Seconds between the first time that a rule held on the ramp and the last slot taken."""
    clients = Clients(f"{ramp} {seed}", ramp.arrivals, ramp.start, min(1.0, 0.5 / ramp.slope))
    watcher, now = Watcher(interval), random.Random(f"phase {seed}").random() * 2.0
    while True:
        used = clients.at(now)
        if clients.full_at is not None:
            return _leads(watcher, clients.full_at)
        now += watcher.poll(now, used)


def exact_leads(ramp: Ramp, phase: float, interval: float | None) -> Mapping[str, float]:
    """The same for a ramp without noise that begins `phase` seconds after a poll."""
    watcher, now = Watcher(interval), -phase % 2.0
    full_at = WARM_UP + (USABLE - ramp.start) / ramp.slope
    while now < full_at:
        now += watcher.poll(now, int(ramp.mean(now)))
    return _leads(watcher, full_at)


def leak_leads(per_minute: float, seed: int) -> Mapping[str, float]:
    """The same for a leak on top of churn around 20, from the first leaked connection on."""
    clients = Clients(f"leak {per_minute:.3f} {seed}", lambda _: 20.0 / LIFE, 20.0, 60.0)
    watcher, now = Watcher(), 0.0
    while True:
        leaked = max(0.0, now - WARM_UP) * per_minute / 60.0
        used = clients.at(now) + int(leaked)
        if used >= USABLE:
            return _leads(watcher, now)
        now += watcher.poll(now, used)


def _leads(watcher: Watcher, full_at: float) -> Mapping[str, float]:
    first = {
        rule: min((at for at in watcher.held[rule] if at >= WARM_UP), default=math.inf)
        for rule in RULES
    }
    return {rule: full_at - at for rule, at in first.items() if at < math.inf}


def summary(runs: Sequence[Mapping[str, float]], rule: str) -> str:
    """Median (10th percentile) of the leads, and in how many runs the rule came too late."""
    found = sorted(run[rule] for run in runs if rule in run)
    if not found:
        return "never"
    middle, low = statistics.median(found), found[len(found) // 10]
    if middle > LONG:
        words = f"{middle / 60:.0f} min ({low / 60:.0f})"
    else:
        words = f"{middle:.1f} s ({low:.1f})"
    missed = len(runs) - len(found)
    return words + (f", {100 * missed / len(runs):.0f} % missed" if missed else "")


class Effort(NamedTuple):
    """How much is simulated."""

    patterns: str
    days: int
    seconds: float
    ramps: tuple[Ramp, ...]
    runs: int
    leaks: tuple[float, ...]
    leak_runs: int


FULL = Effort("ABCDE", 6, DAY, RAMPS, 100, LEAKS, 20)
QUICK = Effort("AB", 2, DAY / 8, (LAUNCH,), 20, (), 0)
Progress = Callable[[str], None]


def page_rates(effort: Effort, progress: Progress) -> Mapping[str, Mapping[str, float]]:
    """Pages a day, by pattern and rule."""
    rates = {}
    for letter in effort.patterns:
        progress(f"pattern {letter}: {PATTERNS[letter].words}")
        days = [ordinary_day(letter, seed, effort.seconds) for seed in range(effort.days)]
        scale = DAY / (effort.seconds * effort.days)
        rates[letter] = {rule: scale * sum(day[rule] for day in days) for rule in RULES}
    return rates


def ramp_leads(effort: Effort, progress: Progress) -> Mapping[str, list[Mapping[str, float]]]:
    """The runs of every ramp and leak, by its words."""
    leads: dict[str, list[Mapping[str, float]]] = {}
    for polling, interval in (("adaptive", None), ("every 1 s", 1.0)):
        progress(f"ramps, polling {polling}")
        name = f"{LAUNCH}, no noise, {polling}"
        leads[name] = [exact_leads(LAUNCH, phase / 10, interval) for phase in range(20)]
        for ramp in effort.ramps:
            runs = [noisy_leads(ramp, seed, interval) for seed in range(effort.runs)]
            leads[f"{ramp}, {polling}"] = runs
    for leak in effort.leaks:
        name = f"leak of {60 * leak:.0f} an hour, adaptive"
        progress(name)
        leads[name] = [leak_leads(leak, seed) for seed in range(effort.leak_runs)]
    return leads


def report(effort: Effort, progress: Progress) -> str:
    """Both tables, as Markdown."""
    rates, leads = page_rates(effort, progress), ramp_leads(effort, progress)
    shares = [[rule, *(f"{rates[each][rule]:.1f}" for each in rates)] for rule in RULES]
    times = [[name, *(summary(runs, rule) for rule in RULES)] for name, runs in leads.items()]
    days = effort.days * effort.seconds / DAY
    return "\n\n".join(
        (
            f"Pages a day that nobody needed, {days:g} days of each pattern:",
            _table(["rule", *rates], shares),
            "\n".join(f"- **{letter}**: {PATTERNS[letter].words}." for letter in rates),
            f"Lead before no usable slot is left, median (10th percentile) of {effort.runs} runs:",
            _table(["ramp, polling", *RULES], times),
        )
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or put them into the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few hours of A and B, one ramp")
    parser.add_argument("--write", action="store_true", help=f"into {DOCUMENT.name}")
    options = parser.parse_args(arguments)
    tables = report(
        QUICK if options.quick else FULL, lambda words: print(words, file=sys.stderr, flush=True)
    )
    if options.write:
        write(DOCUMENT, tables)
    else:
        print(tables)


def write(document: Path, tables: str) -> None:
    """Put `tables` between the markers of `document`.

    Raises:
        ValueError: it has no markers.
    """
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} has no markers {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
