"""How early the forecasts are and how often they are wrong, by simulation (docs/forecast.md).

Ordinary days, made up and recorded, count the pages that nobody needed; ramps and leaks measure the
lead before the usable slots run out. The forecasts are the very ones that pgheadroom runs.
Everything is seeded: the same code prints the same tables.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.simulation.days import DAY, PATTERNS, ordinary_day, recorded_pages, recordings
from tools.simulation.ramps import LAUNCH, LEAKS, RAMPS, Ramp, exact_leads, leak_leads, noisy_leads
from tools.simulation.watcher import RULES

DOCUMENT = Path(__file__).parents[2] / "docs" / "forecast.md"
BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"
#: Seconds. Longer leads are told in minutes.
LONG = 600.0


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
    recorded = recordings()
    found = {letter: recorded_pages(each) for letter, each in recorded.items()}
    counts = [[rule, *(str(found[each][rule]) for each in found)] for rule in RULES]
    minutes = min(len(each.used) for each in recorded.values()) / 60
    times = [[name, *(summary(runs, rule) for rule in RULES)] for name, runs in leads.items()]
    days = effort.days * effort.seconds / DAY
    return "\n\n".join(
        (
            f"Pages a day that nobody needed, {days:g} days of each pattern:",
            _table(["rule", *rates], shares),
            "\n".join(f"- **{letter}**: {PATTERNS[letter].words}." for letter in rates),
            f"Pages in {minutes:.0f} minutes of what pgbench did to a real server:",
            _table(["rule", *recorded], counts),
            "\n".join(f"- **{letter}**: {each.words}." for letter, each in recorded.items()),
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
