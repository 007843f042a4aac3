"""Several notifications in one message, for a chat while too much happens at once; pure.

Every server is named: what does not fit into one message goes into the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from exporter.alerting.notification import Group, Notification, Severity, Situation, Transition

#: How long a chat's digest gathers.
DIGEST_SECONDS = 2.0
#: Names in one message, with what a receiver may make of an `&`: less than half of the length at
#: which Slack was seen to refuse blocks.
MOST_CHARACTERS = 5000
_ESCAPED = frozenset("&<>")
_WORDS = {
    Transition.OPENED: "New",
    Transition.ESCALATED: "Escalated",
    Transition.DEESCALATED: "Less severe",
    Transition.REPEATED: "Still open",
    Transition.RESOLVED: "Resolved",
    Transition.TEST: "Test",
}


def that_fit(notifications: Iterable[Notification]) -> int:
    """How many of `notifications`, from the first on, one message can name; at least one."""
    count = used = 0
    for each in notifications:
        used += len(each.server) + 2 + sum(4 for character in each.server if character in _ESCAPED)
        if count and used > MOST_CHARACTERS:
            break
        count += 1
    return count


def digest(notifications: Sequence[Notification]) -> Notification:
    """One notification that stands for all of `notifications`, of which there is at least one."""
    ordered = sorted(notifications, key=lambda each: -each.severity.rank)
    resolved = all(each.transition is Transition.RESOLVED for each in ordered)
    return replace(
        ordered[0],
        incident="digest",
        server=_count(len({each.server for each in ordered}), "server"),
        family="digest",
        transition=Transition.RESOLVED if resolved else Transition.OPENED,
        at=max(each.at for each in ordered),
        opened_at=min(each.opened_at for each in ordered),
        headline=_headline(ordered),
        alerts=(),
        situation=Situation(),
        resolution=None,
        flapping=False,
        groups=_groups(ordered),
    )


def _headline(ordered: Sequence[Notification]) -> str:
    """What came and what went, and how many servers it concerns."""
    ended = sum(each.transition is Transition.RESOLVED for each in ordered)
    severities = [e.severity for e in ordered if e.transition is not Transition.RESOLVED]
    head = max(severities, key=lambda each: each.rank).upper() if severities else "RESOLVED"
    servers = _count(len({each.server for each in ordered}), "server")
    text = f"{head} {_count(len(ordered), 'incident')} on {servers} at once"
    return f"{text}, {ended} of them resolved" if ended and severities else text


def _groups(ordered: Iterable[Notification]) -> tuple[Group, ...]:
    """The servers by what happened to them, the most severe first."""
    names: dict[tuple[Transition, Severity, str], dict[str, None]] = {}
    for each in ordered:
        key = each.transition, each.severity, each.family
        names.setdefault(key, {})[each.server] = None
    return tuple(
        Group(f"{_WORDS[transition]}, {severity.value}, {family.replace('_', ' ')}", tuple(servers))
        for (transition, severity, family), servers in names.items()
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
