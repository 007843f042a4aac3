"""Days on which nobody needs a page: made up, and recorded."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from tools.simulation.clients import LIFE, USABLE, Clients, Rate
from tools.simulation.watcher import Watcher

DAY = 86400.0
RECORDING = Path(__file__).with_name("recorded.json")


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
    return watcher.pages()


class Recorded(NamedTuple):
    """The used slots of a real server, a reading every second; see `record.py`."""

    words: str
    used: tuple[int, ...]


def recordings() -> Mapping[str, Recorded]:
    """What was recorded, by letter; a reading that is missing is the one before."""
    found = {}
    for letter, raw in json.loads(RECORDING.read_text("utf-8"))["traffic"].items():
        used = [raw["used"][0] or 0]
        for each in raw["used"][1:]:
            used.append(used[-1] if each is None else each)
        found[letter] = Recorded(raw["words"], tuple(used))
    return found


def recorded_pages(recorded: Recorded) -> Mapping[str, int]:
    """Pages by rule, while the recording goes by."""
    watcher, now = Watcher(), 0.0
    while now < len(recorded.used):
        now += watcher.poll(now, recorded.used[int(now)])
    return watcher.pages()
