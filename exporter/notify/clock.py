"""The clocks and the chance that delivery runs on, so that tests can bring their own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` is Unix seconds, `steady` never steps back, `chance` draws from [0, 1)."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    # Spreads retries; nobody gains by guessing it.
    chance: Callable[[], float] = random.random
