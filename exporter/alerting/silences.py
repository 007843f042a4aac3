"""Silences: what a person, or a deploy script, does not want to hear of for a while.

A silence ends by itself: it has an author, a comment and an expiry, and none of them is optional.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from exporter.config.alerting import Matcher, MatcherText
from exporter.config.base import LONGEST_SECONDS, Model, Seconds
from exporter.config.errors import problems_of

#: An expired silence is listed for this long, so that one can see what was not told.
REMEMBERED_SECONDS = 86400.0
#: Between them a time can be written as a date.
_EARLIEST = datetime.min.replace(tzinfo=UTC).timestamp()
_LATEST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class SilenceState(StrEnum):
    """Where a silence is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that meet all `matchers` are not told between `starts_at` and `ends_at`.

    Times are Unix seconds; the end is excluded.
    """

    id: str
    matchers: tuple[Matcher, ...]
    author: str
    comment: str
    starts_at: float
    ends_at: float

    def state(self, now: float) -> SilenceState:
        """Whether it is to come, holds, or is over."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.PENDING if now < self.starts_at else SilenceState.ACTIVE

    def ended(self, now: float) -> Silence:
        """The same silence, over at `now`."""
        return replace(self, starts_at=min(self.starts_at, now), ends_at=now)

    def to_dict(self, now: float) -> dict[str, Any]:
        """What the API says of it; times are ISO 8601 in UTC."""
        return {
            "id": self.id,
            "state": self.state(now).value,
            "matchers": [matcher.text for matcher in self.matchers],
            "author": self.author,
            "comment": self.comment,
            "starts_at": _iso(self.starts_at),
            "ends_at": _iso(self.ends_at),
        }


@dataclass(frozen=True, slots=True)
class Changed:
    """A silence that was added or ended; `warning` is what is to be said of that, or nothing."""

    silence: Silence
    warning: str = ""


class SilenceRequest(Model):
    """A silence as somebody asks for it."""

    matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1, max_length=20)]
    author: Annotated[str, Field(min_length=1, max_length=120)]
    comment: Annotated[str, Field(min_length=1, max_length=1000)]
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    duration: Seconds | None = None

    @model_validator(mode="after")
    def _ends(self) -> SilenceRequest:
        if (self.ends_at is None) == (self.duration is None):
            raise ValueError("give either duration, such as 30m, or ends_at: a silence must end")
        return self

    @model_validator(mode="after")
    def _says_something(self) -> SilenceRequest:
        if all(matcher.matches({}) for matcher in self.matchers):
            raise ValueError("matchers: at least one must ask for a label that is there")
        return self


def requested(raw: object, new_id: str, now: float) -> Silence:
    """The silence that `raw`, a JSON object, asks for.

    Raises:
        ValueError: it cannot be had; a line for each thing that is wrong.
    """
    try:
        request = SilenceRequest.model_validate(raw)
    except ValidationError as error:
        raise ValueError("\n".join(map(str, problems_of(error, SilenceRequest)))) from None
    starts_at = now if request.starts_at is None else _writable(request.starts_at.timestamp())
    if request.ends_at is not None:
        ends_at = request.ends_at.timestamp()
    else:
        ends_at = starts_at + (request.duration or 0.0)
    if ends_at <= max(starts_at, now):
        raise ValueError("ends_at: the silence would be over before it begins")
    if ends_at > now + LONGEST_SECONDS:
        raise ValueError("ends_at: a silence must end, within ten years from now")
    made = (request.matchers, request.author, request.comment, starts_at, ends_at)
    return Silence(new_id, *made)


def remembered(silences: Iterable[Silence], now: float) -> tuple[Silence, ...]:
    """`silences` without those that have been over for a day."""
    return tuple(each for each in silences if now - each.ends_at < REMEMBERED_SECONDS)


def silences_to_json(silences: Iterable[Silence]) -> str:
    """Text from which `silences_from_json` makes equal silences."""
    kept = [
        {
            "id": each.id,
            "matchers": [matcher.text for matcher in each.matchers],
            "author": each.author,
            "comment": each.comment,
            "starts_at": each.starts_at,
            "ends_at": each.ends_at,
        }
        for each in silences
    ]
    return json.dumps(kept, separators=(",", ":"))


def silences_from_json(text: str) -> tuple[tuple[Silence, ...], tuple[str, ...]]:
    """The silences that `silences_to_json` wrote, and whatever else is there, as text.

    One that cannot be understood takes none of the others with it.
    """
    try:
        kept = json.loads(text)
    except ValueError:
        return (), (_shown(text),)
    if not isinstance(kept, list):
        return (), (_shown(kept),)
    found, left = [], []
    for raw in kept:
        try:
            found.append(_silence(raw))
        except (ValueError, KeyError, TypeError, AttributeError):
            left.append(_shown(raw))
    return tuple(found), tuple(left)


def _shown(raw: object) -> str:
    return f"{raw!r:.300}"


def _silence(raw: Mapping[str, Any]) -> Silence:
    matchers = tuple(Matcher.model_validate(text) for text in raw["matchers"])
    # A state may be from a version that took any end.
    times = {name: _writable(raw[name]) for name in ("starts_at", "ends_at")}
    return Silence(**({**raw} | {"matchers": matchers} | times))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _writable(at: float) -> float:
    """The time next to `at` that a date can be written for."""
    return min(max(at, _EARLIEST), _LATEST)
