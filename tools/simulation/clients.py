"""Clients that come and go at random; seeded, so that a table can be made again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

USABLE = 97
#: Seconds that a connection lives on average.
LIFE = 20.0

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
