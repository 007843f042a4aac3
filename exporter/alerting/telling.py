"""What one receiver was told of an incident, and what it must be told next; pure.

A receiver is told when what it knows differs from what is so. Four things keep a difference from
being told at once:

- damping: a chat hears of one incident once in five minutes, unless it becomes critical. The end
  of an incident that was opened once only is no noise, and is told when it comes.
- flapping: more than three openings within an hour. Then the end is told only after half an hour
  of quiet. A pager keeps the alert that it has, and is told of a critical relapse under its key.
- muting: what is muted is neither opened nor told again. An end is told all the same, or a pager
  would keep for ever what it was once told.
- `keep_firing_for`: an alert whose condition has ceased holds the end back, and is no news: it
  opens, raises, lowers and repeats nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Manner

DAMPING_SECONDS = 300.0
FLAPPING_OPENINGS = 4
FLAPPING_SECONDS = 3600.0
#: What flaps is over when nothing has fired for this long.
HOLD_SECONDS = 1800.0
#: Relapses of what a pager still has open are not triggered more often than this.
RELAPSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Firing:
    """The highest severities that fire and are routed to one receiver; None where none does.

    Args:
        due: of all, also of what is only kept firing.
        audible: of those whose condition holds and that nothing mutes.
        muted: of those whose condition holds and that something mutes.
        lapsed: of those that are only kept firing and that nothing mutes.
    """

    due: Severity | None = None
    audible: Severity | None = None
    muted: Severity | None = None
    lapsed: Severity | None = None

    @property
    def holds(self) -> bool:
        """Whether the condition of any of them holds."""
        return self.audible is not None or self.muted is not None


@dataclass(frozen=True, slots=True)
class Telling:
    """What one receiver knows of the incidents of one server and family.

    Times are seconds of the steady clock.

    Args:
        severity: what it was told last; None: nothing yet, or that it is over.
        at: when it was last told anything.
        due: what was so at the last evaluation.
        falling: whether that was less than before.
        fell_at: since when `due` has been less than `severity`.
        openings: when it last rose from a fall, the newest last.
        flapping: whether it comes and goes.
        flapping_told: whether that was said.
        relapsed: whether it rose since the receiver was last told anything.
        audible: what nothing muted of that; that a condition ceased is no muting.
        ceased_at: since when no condition holds of what is routed to it.
    """

    severity: Severity | None = None
    at: float | None = None
    due: Severity | None = None
    falling: bool = True
    fell_at: float | None = None
    openings: tuple[float, ...] = ()
    flapping: bool = False
    flapping_told: bool = False
    relapsed: bool = False
    audible: Severity | None = None
    ceased_at: float | None = None

    @property
    def rank(self) -> int:
        """How urgent what it knows is; -1 where it knows of nothing that is open."""
        return _rank(self.severity)

    def silent_for(self, now: float) -> float:
        """Seconds since the receiver was last told anything."""
        return float("inf") if self.at is None else now - self.at

    def matters(self, now: float, manner: Manner | None) -> bool:
        """Whether it has to be remembered."""
        if self.severity is not None or self.due is not None:
            return True
        recent = any(now - at <= FLAPPING_SECONDS for at in self.openings)
        return manner is not None and (recent or self.silent_for(now) < DAMPING_SECONDS)


@dataclass(frozen=True, slots=True)
class News:
    """What to tell: the transition, and the severity that the receiver knows from then on."""

    transition: Transition
    severity: Severity
    flapping: bool = False


def advance(
    known: Telling, firing: Firing, manner: Manner | None, now: float
) -> tuple[Telling, News | None]:
    """What a receiver that knew `known` must be told at `now`, and what it knows afterwards.

    A receiver without a `manner` is told every change at once, and nothing twice.
    """
    audible = firing.audible
    unmuted = _rank(known.audible) < min(_rank(known.due), _rank(audible))
    seen = _observed(known, firing, manner, now)
    target = _target(seen.severity, firing.due, audible)
    manner = manner or Manner()
    change = _rank(target) - _rank(seen.severity)
    transition = None
    if change > 0 and (target is Severity.CRITICAL or not _damped(seen, manner, now)):
        transition = Transition.ESCALATED if seen.severity else Transition.OPENED
    elif change < 0 and not _held(seen, now) and not _damped(seen, manner, now):
        transition = Transition.DEESCALATED if target else Transition.RESOLVED
    elif change == 0 and audible == target and (unmuted or _again(seen, manner, now)):
        transition = Transition.REPEATED
    if transition is None:
        return seen, None
    return _after(seen, target, transition, now)


def _after(
    seen: Telling, target: Severity | None, transition: Transition, now: float
) -> tuple[Telling, News | None]:
    """What is known once it has been told."""
    severity = target or seen.severity
    if severity is None:
        return seen, None
    news = News(transition, severity, flapping=seen.flapping and target is not None)
    fell = transition in (Transition.DEESCALATED, Transition.RESOLVED)
    flapping = seen.flapping and not fell
    told = replace(
        seen,
        severity=target,
        at=now,
        fell_at=None,
        flapping=flapping,
        flapping_told=flapping,
        relapsed=False,
    )
    return told, news


def _rank(severity: Severity | None) -> int:
    return -1 if severity is None else severity.rank


def _observed(known: Telling, firing: Firing, manner: Manner | None, now: float) -> Telling:
    """`known` with what this evaluation shows, before anything is told."""
    due = firing.due
    rose, fell = _rank(due) > _rank(known.due), _rank(due) < _rank(known.due)
    # A clock that was ahead before a restart must not keep anything from being told.
    openings = tuple(min(at, now) for at in known.openings)
    if rose and known.falling:
        openings = (*openings, now)[-FLAPPING_OPENINGS:]
    often = len(openings) == FLAPPING_OPENINGS and now - openings[0] <= FLAPPING_SECONDS
    below = _rank(due) < _rank(known.severity)
    return replace(
        known,
        at=None if known.at is None else min(known.at, now),
        ceased_at=None if firing.holds else _since(known.ceased_at, now),
        due=due,
        falling=fell or (known.falling and not rose),
        fell_at=_since(known.fell_at, now) if below else None,
        openings=openings,
        flapping=manner is not None and (known.flapping or (rose and often)),
        relapsed=known.relapsed or rose,
        audible=_heard(known, firing),
    )


def _since(known: float | None, now: float) -> float:
    return now if known is None else min(known, now)


def _heard(known: Telling, firing: Firing) -> Severity | None:
    """What nothing muted; of what is only kept firing, no less than before.

    Or it would pass for unmuted, and be told again, as soon as its condition comes back.
    """
    before = min(known.audible, firing.lapsed, key=_rank)
    return max(firing.audible, before, key=_rank)


def _target(
    told: Severity | None, due: Severity | None, audible: Severity | None
) -> Severity | None:
    """What the receiver ought to know: what is not audible adds nothing, and takes nothing away."""
    if due is None:
        return None
    if audible is None:
        return told
    keeps = told is not None and _rank(audible) < _rank(told) <= _rank(due)
    return told if keeps else audible


def _damped(seen: Telling, manner: Manner, now: float) -> bool:
    """Whether a chat has just heard of an incident that came and went before."""
    openings = [at for at in seen.openings if now - at <= FLAPPING_SECONDS]
    return manner.chat and len(openings) > 1 and seen.silent_for(now) < DAMPING_SECONDS


def _held(seen: Telling, now: float) -> bool:
    """Whether a fall may not last."""
    return seen.flapping and seen.fell_at is not None and now - seen.fell_at < HOLD_SECONDS


def _again(seen: Telling, manner: Manner, now: float) -> bool:
    """Whether what the receiver knows is told once more."""
    if seen.severity is None:
        return False
    silent = seen.silent_for(now)
    if seen.flapping and not seen.flapping_told:
        return silent >= (DAMPING_SECONDS if manner.chat else RELAPSE_SECONDS)
    if seen.relapsed and seen.severity is Severity.CRITICAL and not manner.chat:
        return silent >= RELAPSE_SECONDS
    repeat = manner.repeat(seen.severity)
    return repeat is not None and silent >= repeat


def telling_from(raw: Mapping[str, Any]) -> Telling:
    """The telling of which `raw` is the JSON.

    Raises:
        ValueError, TypeError: it is none.
    """
    words = {key: raw[key] and Severity(raw[key]) for key in ("severity", "due", "audible")}
    return Telling(**({**raw} | words | {"openings": tuple(raw["openings"])}))
