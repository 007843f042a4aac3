"""Why an alert that fires is not told: a silence, a recurring mute, or another alert; pure.

Evaluation goes on: a muted alert fires, is shown, and is told as soon as nothing mutes it any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from exporter.alerting.silences import Silence, SilenceState
from exporter.config.alerting import Matcher
from exporter.config.muting import Inhibition, Mute, MuteTimes

Labels = Mapping[str, str]

#: No slot is left, and clients are refused. That is silenced only by who asks for it by its name:
#: `server="prod"` is meant for the noise of a deploy, not for the outage that it causes.
EXHAUSTION = frozenset(
    {"PostgresConnectionsExhausted", "PostgresConnectProbeRefused", "PostgresWatcherRefused"}
)
_PLAIN_NAMES = re.compile(r"\w+(?:\|\w+)*")


@dataclass(frozen=True, slots=True)
class Around:
    """What else a decision about one endpoint rests on.

    `firing` are the label sets of the firing alerts of the whole process, as matchers see them.
    `at` is Unix seconds by the machine's clock, by which silences and mutes hold; None: it is that
    of the decision.
    """

    silences: Sequence[Silence] = ()
    firing: Sequence[Labels] = ()
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Muting:
    """What the configuration says of it."""

    mutes: Sequence[Mute] = ()
    inhibitions: Sequence[Inhibition] = ()

    def reason(self, labels: Labels, around: Around, now: float) -> str:
        """What mutes the alert with `labels`, such as "silence 1f09"; "" where nothing does."""
        for silence in around.silences:
            active = silence.state(now) is SilenceState.ACTIVE
            if active and covers(silence.matchers, labels):
                return f"silence {silence.id}"
        for mute in self.mutes:
            if covers(mute.matchers, labels) and any(holds(times, now) for times in mute.times):
                return f"mute {mute.name}"
        for inhibition in self.inhibitions:
            source = _source(inhibition, labels, around.firing)
            if source is not None:
                return f"inhibited by {source['alertname']}"
        return ""


def covers(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether `labels` meet all of `matchers`, which must name exhaustion to mean it."""
    matchers = tuple(matchers)
    if not all(matcher.matches(labels) for matcher in matchers):
        return False
    name = labels.get("alertname", "")
    return name not in EXHAUSTION or any(_names(matcher, name) for matcher in matchers)


def _names(matcher: Matcher, alertname: str) -> bool:
    """Whether `matcher` spells out `alertname`, alone or in a list of names."""
    if matcher.label != "alertname":
        return False
    if matcher.operator == "=~" and _PLAIN_NAMES.fullmatch(matcher.value):
        return alertname in matcher.value.split("|")
    return matcher.operator == "=" and matcher.value == alertname


def holds(times: MuteTimes, now: float) -> bool:
    """Whether it is one of `times` at `now` (Unix seconds), by the clocks of their time zone."""
    local = datetime.fromtimestamp(now, times.zone)
    minute, today = local.hour * 60 + local.minute, local.weekday()
    for begin, end in times.minutes:
        if begin < end:
            if begin <= minute < end and today in times.days:
                return True
        elif (minute >= begin and today in times.days) or (
            minute < end and (today - 1) % 7 in times.days
        ):
            return True
    return False


def _source(inhibition: Inhibition, labels: Labels, firing: Sequence[Labels]) -> Labels | None:
    """The alert among `firing` that says enough for the one with `labels` not to be told."""
    if not covers(inhibition.target, labels):
        return None
    for other in firing:
        same = all(other.get(name, "") == labels.get(name, "") for name in inhibition.equal)
        if same and other != labels and all(each.matches(other) for each in inhibition.source):
            return other
    return None
