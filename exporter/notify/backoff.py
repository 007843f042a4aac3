"""When to try again, and how fast to send at most; pure: times and chance are arguments."""

from __future__ import annotations

import math
from dataclasses import dataclass

from exporter.alerting.notification import Severity
from exporter.notify.receiver import Pace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Full jitter: a delay is drawn from 0 to min(cap, base * 2^n), in seconds.

    That is the variant with the fewest collisions in "Exponential Backoff And Jitter" (AWS
    Architecture Blog, 2015). A page is never further away than `critical_cap`.
    """

    base: float = 1.0
    critical_cap: float = 30.0
    cap: float = 300.0

    def delay(self, failures: int, severity: Severity, chance: float) -> float:
        """Seconds after the `failures`-th failure in a row; `chance` is drawn from [0, 1).

        >>> Backoff().delay(1, Severity.CRITICAL, 1.0), Backoff().delay(99, Severity.CRITICAL, 0.5)
        (1.0, 15.0)
        """
        cap = self.critical_cap if severity is Severity.CRITICAL else self.cap
        # Past 2^40 the cap has long been reached, and a float would overflow at 2^1024.
        return chance * min(cap, self.base * 2.0 ** min(max(0, failures - 1), 40))


class TokenBucket:
    """At most `pace.burst` at once and `pace.per_second` after that."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._tokens = float(pace.burst)
        self._at = -math.inf

    def take(self, now: float) -> None:
        """Count one that is sent at `now`."""
        self._tokens = self._available(now) - 1.0
        self._at = now

    def ready_at(self, now: float) -> float:
        """From when on one may be sent; `now` if it may be at once."""
        missing = 1.0 - self._available(now)
        return now if missing <= 0 else now + missing / self._pace.per_second

    def _available(self, now: float) -> float:
        gained = (now - self._at) * self._pace.per_second
        return min(float(self._pace.burst), self._tokens + max(0.0, gained))
