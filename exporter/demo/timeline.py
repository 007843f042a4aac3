"""What happened when, as plain numbers, and whether the page came in time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

HIGH = 0.70
CRITICAL = 0.85
"""The two fixed marks of the usable slots that the default rules know."""


class Verdict(StrEnum):
    """How the race between the page and the first refused client ended."""

    PAGED_FIRST = "paged before the first refusal"
    PAGED_LATE = "paged after the first refusal"
    NOT_PAGED = "nobody was paged"
    NOT_REFUSED = "no client was refused"
    FALSE_ALARM = "paged before the launch began"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened `seconds` after the launch began, with `used` slots taken then."""

    seconds: float
    name: str
    used: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """One launch. All times are seconds of one monotonic clock; None is what did not happen.

    `curve` is (time, slots taken) at every change, in order, as counted by those who took them: it
    owes nothing to the watcher that is judged by it.
    """

    began: float
    usable: int
    curve: tuple[tuple[float, int], ...]
    paged_at: float | None = None
    refused_at: float | None = None

    @property
    def lead(self) -> float | None:
        """Seconds from the page to the first refusal, negative where the page came later."""
        if self.paged_at is None or self.refused_at is None:
            return None
        return self.refused_at - self.paged_at

    @property
    def verdict(self) -> Verdict:
        """Who was first. A page before the launch began is a false alarm, not a long lead."""
        if self.paged_at is None:
            return Verdict.NOT_PAGED
        if self.paged_at < self.began:
            return Verdict.FALSE_ALARM
        if self.lead is None:
            return Verdict.NOT_REFUSED
        return Verdict.PAGED_FIRST if self.lead > 0 else Verdict.PAGED_LATE

    def reached(self, ratio: float) -> float | None:
        """When `ratio` of the usable slots was first taken."""
        return next((at for at, used in self.curve if used >= ratio * self.usable), None)

    def used(self, at: float) -> int:
        """Slots taken at `at`."""
        return next((used for time, used in reversed(self.curve) if time <= at), 0)

    @property
    def events(self) -> tuple[Event, ...]:
        """All that happened, in the order of time."""
        known = (
            ("launch begins", self.began),
            ("70 % of the usable slots", self.reached(HIGH)),
            ("85 % of the usable slots", self.reached(CRITICAL)),
            ("first page", self.paged_at),
            ("first refused client", self.refused_at),
        )
        return _in_order(
            Event(at - self.began, name, self.used(at)) for name, at in known if at is not None
        )


def _in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: event.seconds))
