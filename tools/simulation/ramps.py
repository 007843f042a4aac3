"""Ramps and leaks, and how long before the last slot is taken each rule holds."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import NamedTuple

from tools.simulation.clients import LIFE, USABLE, Clients
from tools.simulation.watcher import RULES, Watcher

#: Before a ramp begins there is a past to compare with.
WARM_UP = 700.0


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
