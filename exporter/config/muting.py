"""What keeps alerts from being told, as the configuration says it: recurring mutes, inhibition."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from exporter.config.alerting import MatcherText
from exporter.config.base import Model, Name

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 1440
_DAYS = re.compile(rf"({'|'.join(WEEKDAYS)})(?:-({'|'.join(WEEKDAYS)}))?")
_TIMES = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


def weekdays_of(text: str) -> frozenset[int]:
    """The days of `mon` or `mon-fri`, Monday being 0; a range may run over the week's end.

    >>> sorted(weekdays_of("mon-fri")), sorted(weekdays_of("sat-mon"))
    ([0, 1, 2, 3, 4], [0, 5, 6])
    """
    found = _DAYS.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a weekday; write mon, or mon-fri")
    first = WEEKDAYS.index(found[1])
    last = WEEKDAYS.index(found[2] or found[1])
    return frozenset((first + step) % 7 for step in range((last - first) % 7 + 1))


def minutes_of(text: str) -> tuple[int, int]:
    """Begin and end of `22:00-06:00`, in minutes of the day; the end may be the smaller one.

    >>> minutes_of("22:00-06:00"), minutes_of("00:00-24:00")
    ((1320, 360), (0, 1440))
    """
    found = _TIMES.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a time of day; write 22:00-06:00")
    begin = int(found[1]) * 60 + int(found[2])
    end = MINUTES_A_DAY if found[3] is None else int(found[3]) * 60 + int(found[4])
    if begin == end:
        raise ValueError(f"{text!r} has no length; write 00:00-24:00 for the whole day")
    return begin, end


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is not a time zone that this machine knows; write one such as Europe/Berlin"
        ) from None
    return name


def _weekday(text: str) -> str:
    weekdays_of(text)
    return text


def _time(text: str) -> str:
    minutes_of(text)
    return text


class MuteTimes(Model):
    """When a mute holds, by the clocks of one time zone."""

    weekdays: tuple[Annotated[str, AfterValidator(_weekday)], ...] = ("mon-sun",)
    """Such as `mon` or `sat-sun`; what runs over midnight belongs to its first day."""
    times: tuple[Annotated[str, AfterValidator(_time)], ...] = ("00:00-24:00",)
    """Such as `22:00-06:00`, the end excluded."""
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """A name of the IANA database, such as `Europe/Berlin`; changes of summer time are its own."""

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)

    @cached_property
    def days(self) -> frozenset[int]:
        """The weekdays, Monday being 0."""
        return frozenset[int]().union(*map(weekdays_of, self.weekdays))

    @cached_property
    def minutes(self) -> tuple[tuple[int, int], ...]:
        """Begin and end of each time, in minutes of the day."""
        return tuple(map(minutes_of, self.times))


class Mute(Model):
    """A silence that comes back: alerts that meet all matchers are not told at these times."""

    name: Name
    """What the page calls it."""
    matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    """Each as text, such as `env="staging"`. Exhaustion is muted only by its `alertname`."""
    times: Annotated[tuple[MuteTimes, ...], Field(min_length=1)]
    """When it holds: any of these."""


class Inhibition(Model):
    """While an alert that meets `source` fires, those that meet `target` are not told."""

    source: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    """Matchers of the alert that says enough."""
    target: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    """Matchers of the alerts that follow from it."""
    equal: tuple[str, ...] = ("server",)
    """Labels that must have the same values in both."""


def _inhibition(source: tuple[str, ...], target: tuple[str, ...]) -> Inhibition:
    return Inhibition.model_validate({"source": source, "target": target})


_REFUSED = 'alertname=~"PostgresConnectProbeRefused|PostgresWatcherRefused"'
_FULL = (
    'alertname=~"PostgresConnectionsExhausted|PostgresConnectProbeRefused|PostgresWatcherRefused"'
)
_NOT_PAUSED = 'alertname!="PoolerPaused"'
#: A server that refuses clients refuses whoever looks at it. What stands in front of one that is
#: full or gone waits. Somebody has been told already. A pause is something that a person ordered.
#: That a server was full when it was last seen says nothing of why it is not seen any more.
DEFAULT_INHIBITIONS = (
    _inhibition((_REFUSED,), ('family="reachability"',)),
    _inhibition((_FULL,), ('family="pooler"', _NOT_PAUSED)),
    _inhibition(
        ('family="reachability"', 'severity="critical"'),
        ('family=~"pooler|pooler_reachability"', _NOT_PAUSED),
    ),
)
