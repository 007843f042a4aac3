"""The ring of (time, used) that forecasts read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Slots in use at `at`, Unix seconds of the watcher's steady clock."""

    at: float
    used: int


class History:
    """Samples in order of time, as far back as `keep_seconds`.

    Held at full resolution for `dense_seconds` and thinned to one sample per `sparse_step` before
    that, so that an hour at one poll a second stays a few hundred samples.
    """

    def __init__(
        self,
        samples: Iterable[Sample] = (),
        *,
        keep_seconds: float = 3900.0,
        dense_seconds: float = 720.0,
        sparse_step: float = 10.0,
    ) -> None:
        self._keep = keep_seconds
        self._dense = dense_seconds
        self._step = sparse_step
        self._sparse_samples: deque[Sample] = deque()
        self._dense_samples: deque[Sample] = deque()
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Append `sample`; one that is not newer than the last is dropped."""
        if self._dense_samples and sample.at <= self._dense_samples[-1].at:
            return
        self._dense_samples.append(sample)
        while self._dense_samples[0].at < sample.at - self._dense:
            self._thin(self._dense_samples.popleft())
        while self._sparse_samples and self._sparse_samples[0].at < sample.at - self._keep:
            self._sparse_samples.popleft()

    def _thin(self, sample: Sample) -> None:
        """Keep one sample per step, the highest: a breakout is measured against peaks."""
        last = self._sparse_samples[-1] if self._sparse_samples else None
        if last is None or sample.at - last.at >= self._step:
            self._sparse_samples.append(sample)
        elif sample.used > last.used:
            self._sparse_samples[-1] = Sample(last.at, sample.used)

    def since(self, at: float) -> list[Sample]:
        """The samples taken at or after `at`, oldest first."""
        recent: list[Sample] = []
        for ring in (self._dense_samples, self._sparse_samples):
            for sample in reversed(ring):
                if sample.at < at:
                    return recent[::-1]
                recent.append(sample)
        return recent[::-1]

    def __iter__(self) -> Iterator[Sample]:
        yield from self._sparse_samples
        yield from self._dense_samples

    def __len__(self) -> int:
        return len(self._sparse_samples) + len(self._dense_samples)

    @property
    def last(self) -> Sample | None:
        """The newest sample."""
        return self._dense_samples[-1] if self._dense_samples else None
