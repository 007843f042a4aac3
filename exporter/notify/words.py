"""What a notification says, as lines of text that every receiver shares; pure.

Names come from clients: anybody who can log in chooses an application name. They pass through
`plain`, and then through the receiver's own `quote`, which makes them inert in its format.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from exporter.alerting.notification import (
    AlertLine,
    Notification,
    Resolution,
    Situation,
    Transition,
)
from exporter.alerting.words import duration_words
from exporter.snapshot.attribution import Attribution
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.holders import Holder, IdleTransaction

Quote = Callable[[str], str]

MOST_HOLDERS = 5
MOST_GROWERS = 3
MOST_BLOCKERS = 3
MOST_LIMITS = 2
MOST_BEHIND = 3
#: "application (role on database)" with three names of 63 bytes would fill a telephone.
_NAME_CHARACTERS = 120
#: Of names in one line: five times as many, escaped, are still one section of a Slack message.
_LINE_CHARACTERS = 300
#: Older than this, the numbers are no longer what the server looks like.
_OLD_SECONDS = 15.0
#: What was seen longer ago than a few polls is not said as if it were now.
_AGO_SECONDS = 5.0
#: Categories that move, hide or break text: controls, direction marks, line ends, half characters.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def plain(text: str, most: int) -> str:
    r"""`text` on one line, without what is not to be seen, at most `most` characters.

    >>> plain("a\nb\x00\u202ec", 10)
    'a b c'
    >>> plain("abcdef", 4)
    'abc…'
    """
    seen = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text[: 4 * most])
    line = " ".join(seen.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def as_is(text: str) -> str:
    """The `quote` of formats in which no text means anything."""
    return text


def holder_lines(situation: Situation, quote: Quote, *, addresses: bool) -> list[str]:
    """The largest holders, one on a line; a role with many names goes before them."""
    return _role_lines(situation, quote) + [
        f"{_quoted(each, quote)}: {each.used}{_addresses(each, quote) if addresses else ''}"
        for each in situation.holders[:MOST_HOLDERS]
    ]


def _role_lines(situation: Situation, quote: Quote) -> list[str]:
    role = situation.top_role
    if role is None:
        return []
    return [f"{quote(plain(role.name, _NAME_CHARACTERS))}: {role.used} under {role.names} names"]


def waiting_lines(situation: Situation, quote: Quote) -> list[str]:
    """Whose clients wait for a server connection of a pool, one application on a line."""
    return [
        f"{_quoted(each, quote)}: {each.used}"
        for each in situation.applications_waiting[:MOST_HOLDERS]
    ]


def grower_lines(situation: Situation, quote: Quote) -> list[str]:
    """Who took the most slots lately, one on a line."""
    return [
        f"{_quoted(each, quote)}: +{each.grown}, now {each.used}"
        for each in situation.growers[:MOST_GROWERS]
    ]


def growth_window(situation: Situation) -> str:
    """In what time they grew, e.g. "in 1 min"; nothing where it is not known."""
    seconds = situation.growth_window_seconds
    return f"in {duration_words(seconds)}" if seconds > 0 else ""


def _quoted(holder: Holder, quote: Quote) -> str:
    return quote(plain(holder.name, _NAME_CHARACTERS))


def _addresses(holder: Holder, quote: Quote) -> str:
    if not holder.client_addr:
        return ""
    others = f" and {holder.client_addrs - 1} more" if holder.client_addrs > 1 else ""
    return f", from {quote(plain(holder.client_addr, _NAME_CHARACTERS))}{others}"


def idle_line(idle: IdleTransaction, quote: Quote, *, addresses: bool) -> str:
    """The oldest idle transaction: for how long, which backend, and whose."""
    who = Holder(idle.application_name, idle.usename, idle.datname, 0, client_addr=idle.client_addr)
    pid = "" if idle.pid is None else f"pid {idle.pid}, "
    tail = _addresses(who, quote) if addresses else ""
    return f"{duration_words(idle.seconds)}, {pid}{_quoted(who, quote)}{tail}"


def blocker_lines(situation: Situation, quote: Quote, *, addresses: bool) -> list[str]:
    """Whom others wait for, one on a line: the heads of the queues, the longest queue first."""
    return [
        _blocker(each, quote, addresses=addresses) for each in situation.blockers[:MOST_BLOCKERS]
    ]


def _blocker(blocker: Blocker, quote: Quote, *, addresses: bool) -> str:
    who = Holder(
        blocker.application_name,
        blocker.usename,
        blocker.datname,
        0,
        client_addr=blocker.client_addr,
    )
    if not blocker.pid:
        return f"a prepared transaction (pg_prepared_xacts), blocks {blocker.blocked}"
    since = blocker.state_seconds
    age = "" if since is None else f" {duration_words(since)}"
    # Postgres' words, or an extension's for its workers: letters, and nothing that is markup.
    state = "".join(c for c in blocker.state if c.isalnum() or c in " ()-")
    doing = f"{plain(state, 40) or 'unknown'}{age}"
    tail = _addresses(who, quote) if addresses else ""
    return f"pid {blocker.pid} {_quoted(who, quote)}, {doing}, blocks {blocker.blocked}{tail}"


def behind_lines(situation: Situation, quote: Quote, *, addresses: bool) -> list[str]:
    """Who is really behind backends that a pooler holds, one on a line, the oldest first."""
    return [_behind(each, quote, addresses=addresses) for each in situation.behind[:MOST_BEHIND]]


def _behind(found: Attribution, quote: Quote, *, addresses: bool) -> str:
    ago = (
        f" ({duration_words(found.seen_seconds)} ago)" if found.seen_seconds >= _AGO_SECONDS else ""
    )
    age = f"{duration_words(found.seconds)}{ago}"
    head = f"pid {found.pid}, {age}, by {quote(plain(found.pooler, 60))}"
    if found.doubt:
        return f"{head}: unknown; {found.doubt}"
    who = Holder(found.application_name, found.usename, found.datname, 0)
    line = f"{head}: {_quoted(who, quote)}"
    if addresses and found.client_addr:
        port = f" port {found.client_port}" if found.client_port else ""
        line += f", from {quote(plain(found.client_addr, 60))}{port}"
    return line


def states_line(situation: Situation) -> str:
    """Slots by state, largest first, e.g. "60 active, 20 idle"."""
    counted = sorted(situation.states.items(), key=lambda item: -item[1])
    return ", ".join(
        f"{count} {plain(state, 40) or 'unknown'}" for state, count in counted if count
    )


def limits_line(situation: Situation) -> str:
    """Limits of roles and databases that are nearly used up, e.g. "role app: 46 of 50, 92 %"."""
    return "; ".join(plain(line, 160) for line in situation.limits[:MOST_LIMITS])


def outlook(situation: Situation) -> str:
    """How fast, and how long it lasts, e.g. "+2.6 a second; full in about 20 s"."""
    return "; ".join(part for part in (situation.rate, situation.time_left) if part)


def doubts(situation: Situation) -> list[str]:
    """What keeps the numbers from being current."""
    lines = []
    if situation.failure:
        lines.append(f"Polls fail: {plain(situation.failure, 300)}")
    age = situation.data_age_seconds
    if age is not None and (situation.failure or age > _OLD_SECONDS):
        lines.append(f"The numbers are {duration_words(age)} old")
    return lines


def resolution_lines(resolution: Resolution) -> list[str]:
    """What an incident came to."""
    lines = [f"Lasted {duration_words(resolution.duration_seconds)}"]
    if resolution.peak_used is not None:
        usable = "" if resolution.peak_usable is None else f" of {resolution.peak_usable}"
        lines.append(f"Peak: {resolution.peak_used}{usable} usable slots")
    if resolution.least_free is not None:
        lines.append(f"Least headroom: {resolution.least_free}")
    return [*lines, _refusals(resolution)]


def _refusals(resolution: Resolution) -> str:
    if resolution.refused:
        return "Clients were refused"
    if resolution.least_free == 0:
        return "The slots ran out; no probe saw a client refused"
    return "No client was seen refused"


def group_lines(notification: Notification) -> list[str]:
    """What a message about several incidents names: servers, grouped, on lines of bounded length.

    No line has more than about 700 characters before it is escaped, and no name is left out.
    """
    lines = []
    for group in notification.groups:
        title, text = f"{plain(group.title, 120)} ({len(group.servers)}): ", ""
        for name in group.servers:
            if len(text) > _LINE_CHARACTERS:
                lines.append(f"{title}{text}")
                title, text = "", ""
            text = f"{text}, {plain(name, 120)}" if text else plain(name, 120)
        lines.append(f"{title}{text}")
    return lines


def flapping_lines(notification: Notification) -> list[str]:
    """What it means that an incident flaps, where it does."""
    if not notification.flapping:
        return []
    return ["It comes and goes. Its end is told once it has been quiet for half an hour."]


def actions(notification: Notification) -> list[str]:
    """What to do next, most severe alert first, each once."""
    return _each_once(alert.action for alert in _by_severity(notification))


def runbooks(notification: Notification) -> list[str]:
    """The runbooks' addresses, most severe alert first, each once; only web addresses."""
    return _each_once(
        alert.runbook_url for alert in _by_severity(notification) if is_link(alert.runbook_url)
    )


def alert_names(notification: Notification) -> list[str]:
    """The rules that fire, most severe first, e.g. "SlotsHigh (warning)"."""
    return _each_once(f"{a.alertname} ({a.severity})" for a in _by_severity(notification))


def is_link(url: str) -> bool:
    """Whether `url` is a web address that no format can be broken with."""
    scheme = url.startswith(("https://", "http://"))
    return scheme and url.isascii() and url.isprintable() and not set(url) & set(" <>|\"'`\\")


def headline(notification: Notification, most: int) -> str:
    """The headline on one line, never empty; a test always says that it is one."""
    bare = f"{notification.server}: {notification.family} {notification.transition}"
    text = plain(notification.headline, most) or plain(bare, most)
    if notification.transition is Transition.TEST and "TEST" not in text:
        return plain(f"TEST: {text}", most)
    return text


def iso_time(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC.

    >>> iso_time(0.25)
    '1970-01-01T00:00:00.250+00:00'
    """
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _by_severity(notification: Notification) -> list[AlertLine]:
    return sorted(notification.alerts, key=lambda alert: -alert.severity.rank)


def _each_once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
