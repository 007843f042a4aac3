"""The ring of (time, used) that forecasts read."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from operator import attrgetter
from typing import NamedTuple

_at = attrgetter("at")
_used = attrgetter("used")


@dataclass(frozen=True, slots=True)
class Sample:
    """Slots in use at `at`, Unix seconds of the watcher's steady clock."""

    at: float
    used: int


class Retention(NamedTuple):
    """Samples younger than `seconds` are kept, two for each `step` seconds; 0 keeps them all."""

    seconds: float
    step: float


#: What the default windows read (`forecast.retentions`): every sample for the polled windows,
#: minutes for the leak window, ten minutes for its day before; some 600 samples at 1 s.
DEFAULT_RETENTIONS = (
    Retention(180.0, 0.0),
    Retention(4500.0, 60.0),
    Retention(94200.0, 600.0),
)


class History:
    """Samples in order of time, the older the sparser (`retentions`, youngest first).

    A step that is thinned keeps its lowest and its highest sample, each at its own time: peaks
    are what a breakout is measured against, and lows are where a leak shows. Feeding a history's
    samples to a new one with the same retentions gives an equal history.
    """

    def __init__(
        self,
        samples: Iterable[Sample] = (),
        *,
        retentions: tuple[Retention, ...] = DEFAULT_RETENTIONS,
    ) -> None:
        self._retentions = retentions
        self._rings: tuple[list[Sample], ...] = tuple([] for _ in retentions)
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Append `sample`; a second one of the same time is dropped.

        One that is older than the last means that the clock was set back between two runs: what
        lies after it is forgotten, for it would otherwise hide everything until the clock is there
        again.
        """
        last = self.last
        if last is not None and sample.at <= last.at:
            if sample.at == last.at:
                return
            for ring in self._rings:
                del ring[bisect_left(ring, sample.at, key=_at) :]
        self._rings[0].append(sample)
        self._expire(sample.at)

    def _expire(self, now: float) -> None:
        for tier, (ring, retention) in enumerate(zip(self._rings, self._retentions, strict=True)):
            if not ring or ring[0].at >= now - retention.seconds:
                continue
            expired = bisect_left(ring, now - retention.seconds, key=_at)
            if tier + 1 < len(self._rings):
                for sample in ring[:expired]:
                    _thin(self._rings[tier + 1], sample, self._retentions[tier + 1].step)
            del ring[:expired]

    def between(self, start: float, end: float) -> list[Sample]:
        """The samples with `start <= at < end`, oldest first."""
        found: list[Sample] = []
        for ring in reversed(self._rings):
            if ring and ring[-1].at >= start:
                low = bisect_left(ring, start, key=_at)
                high = len(ring) if end > ring[-1].at else bisect_left(ring, end, key=_at)
                found += ring[low:high]
        return found

    def since(self, at: float) -> list[Sample]:
        """The samples taken at or after `at`, oldest first."""
        return self.between(at, inf)

    def lows(self, start: float, end: float, step: float) -> list[Sample]:
        """The lowest sample of each whole `step` within `start` and `end`, oldest first.

        Steps are multiples of `step` since the epoch, as in thinning, so that `step` should be a
        multiple of the resolution that is kept there. Steps without a sample are left out.
        """
        found: dict[float, Sample] = {}
        for sample in self.between(-(-start // step) * step, end // step * step):
            bucket = sample.at // step
            lowest = found.get(bucket)
            if lowest is None or sample.used < lowest.used:
                found[bucket] = sample
        return list(found.values())

    def __iter__(self) -> Iterator[Sample]:
        for ring in reversed(self._rings):
            yield from ring

    def __len__(self) -> int:
        return sum(len(ring) for ring in self._rings)

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        for ring in self._rings:
            if ring:
                return ring[-1]
        return None


def _thin(ring: list[Sample], sample: Sample, step: float) -> None:
    """Append `sample`, leaving the lowest and the highest of its step."""
    bucket = sample.at // step
    held = [sample]
    while ring and ring[-1].at // step == bucket:
        held.append(ring.pop())
    held.reverse()
    low, high = min(held, key=_used), max(held, key=_used)
    ring.extend(sorted({low, high}, key=_at))
