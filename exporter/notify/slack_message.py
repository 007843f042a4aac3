"""A notification as a Slack message in Block Kit; pure.

Limits are the vendor's (docs.slack.dev, "Reference: blocks"): 50 blocks, 150 characters in a
header, 3000 in a section. Slack also refuses messages whose blocks are too long together, at an
undocumented length, so each part has a budget here and all come to less than 3000 characters.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exporter.alerting.notification import Notification, Severity, Transition
from exporter.notify import words

Block = dict[str, Any]

#: The only escapes that Slack knows ("Formatting text for app surfaces"); they disarm <!channel>,
#: <@U1> and <url|text>.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HEADER_CHARACTERS = 150
_TEXT_CHARACTERS = 300
_SECTION_CHARACTERS = 2900
_MOST_LINK_CHARACTERS = 160
_SIGNS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}


def payload(notification: Notification, *, addresses: bool, minimal: bool = False) -> Block:
    """The body of a webhook request; `minimal` is plain text alone."""
    text = escape(words.headline(notification, _TEXT_CHARACTERS), _TEXT_CHARACTERS)
    if minimal:
        facts = words.group_lines(notification) or _facts(notification)
        lines = [text, *(_prose(each, _SECTION_CHARACTERS) for each in facts)]
        return {"text": "\n".join(lines)}
    return {"text": text, "blocks": _blocks(notification, addresses=addresses)}


def escape(text: str, most: int) -> str:
    """`text` escaped, at most `most` characters long, never cut inside an escape.

    >>> escape("<!channel> & co", 40), escape("a<b", 5)
    ('&lt;!channel&gt; &amp; co', 'a…')
    """
    escaped = [_ESCAPES.get(character, character) for character in text]
    if sum(map(len, escaped)) <= most:
        return "".join(escaped)
    kept = ""
    for part in escaped:
        if len(kept) + len(part) >= most:
            break
        kept += part
    return f"{kept}…"


def code(text: str) -> str:
    """`text` in a code span, in which Slack links, formats and mentions nothing.

    >>> code("a`b <@U1>")
    "`a'b &lt;@U1&gt;`"
    """
    name = words.plain(text.replace("`", "'"), 120) or "(empty)"
    return f"`{escape(name, 200)}`"


def _prose(text: str, most: int) -> str:
    """Text that may have names in it, without the one mark that could swallow what follows."""
    return escape(words.plain(text.replace("`", "'"), most), most)


def _blocks(notification: Notification, *, addresses: bool) -> list[Block]:
    if notification.groups:
        told = [_header(notification), *_digest(notification), _links(notification)]
        return [part for part in told if part]
    situation = notification.situation
    resolved = notification.transition is Transition.RESOLVED
    parts: list[Block | None] = [
        _header(notification),
        _section("", (_prose(line, 290) for line in _facts(notification)), 300),
        _section("", [_prose(_description(notification), 300)], 300),
        _section("", (f"⚠️ {_prose(line, 220)}" for line in words.doubts(situation)), 250),
        _section("", (_prose(line, 240) for line in words.flapping_lines(notification)), 250),
    ]
    if not resolved:
        window = words.growth_window(situation)
        idle = situation.idle_transaction
        oldest = [words.idle_line(idle, code, addresses=addresses)] if idle else []
        parts += [
            _section(
                "Top holders", words.holder_lines(situation, code, addresses=addresses), 600, "• "
            ),
            _section("Waiting in the pool", words.waiting_lines(situation, code), 400, "• "),
            _section(
                f"Fastest growers {window}".rstrip(), words.grower_lines(situation, code), 300, "• "
            ),
            _section("Oldest idle transaction", oldest, 250),
            _section(
                "Behind the pooler",
                words.behind_lines(situation, code, addresses=addresses),
                300,
                "• ",
            ),
            _section(
                "Blocking others",
                words.blocker_lines(situation, code, addresses=addresses),
                300,
                "• ",
            ),
            _section("Next", (_prose(each, 240) for each in words.actions(notification)[:1]), 260),
        ]
    parts += [_rules(notification), _links(notification)]
    return [part for part in parts if part]


def _digest(notification: Notification) -> Iterable[Block | None]:
    """The servers by what happened to them, as few sections as hold all of their names."""
    text = ""
    for line in words.group_lines(notification):
        prose = _prose(line, 5 * _SECTION_CHARACTERS)
        if text and len(text) + len(prose) + 1 > _SECTION_CHARACTERS:
            yield _section("", [text], _SECTION_CHARACTERS + 3)
            text = ""
        text = f"{text}\n{prose}" if text else prose
    yield _section("", [text], _SECTION_CHARACTERS + 3)


def _header(notification: Notification) -> Block:
    resolved = notification.transition is Transition.RESOLVED
    sign = "✅" if resolved else _SIGNS[notification.severity]
    headline = escape(words.headline(notification, _HEADER_CHARACTERS), _HEADER_CHARACTERS - 4)
    text = {"type": "plain_text", "text": f"{sign} {headline}", "emoji": False}
    return {"type": "header", "text": text}


def _facts(notification: Notification) -> list[str]:
    """The sum, where it is going, and what the slots are doing; or what the incident came to."""
    situation = notification.situation
    if notification.resolution is not None:
        return words.resolution_lines(notification.resolution)
    waiting = f"{situation.waiting} waiting" if situation.waiting else ""
    states = ", ".join(part for part in (words.states_line(situation), waiting) if part)
    limits = words.limits_line(situation)
    found = (situation.arithmetic, words.outlook(situation), limits, states)
    return [line for line in found if line]


def _description(notification: Notification) -> str:
    """What the most severe alert says of itself, where it does not repeat the headline."""
    if notification.resolution is not None or not notification.alerts:
        return ""
    worst = max(notification.alerts, key=lambda alert: alert.severity.rank)
    return worst.description


def _rules(notification: Notification) -> Block | None:
    names = ", ".join(words.alert_names(notification))
    verb = "Fired" if notification.transition is Transition.RESOLVED else "Firing"
    since = f"since {words.iso_time(notification.opened_at)[:19]}Z"
    text = " ".join(part for part in (f"{verb}: {_prose(names, 200)}" if names else "", since))
    return _context([text, _prose(f"incident {notification.incident}", 60)])


def _links(notification: Notification) -> Block | None:
    """Runbook and pgheadroom; an address longer than people click on is left out."""
    named = [("Runbook", url) for url in words.runbooks(notification)[:1]]
    if words.is_link(notification.link):
        named.append(("pgheadroom", notification.link))
    links = [
        f"<{escape(url, 5 * _MOST_LINK_CHARACTERS)}|{name}>"
        for name, url in named
        if len(url) <= _MOST_LINK_CHARACTERS
    ]
    return _context([*links, _prose(notification.source, 60)])


def _section(title: str, lines: Iterable[str], budget: int, bullet: str = "") -> Block | None:
    """`lines` under a title, as many as fit into `budget` characters."""
    kept: list[str] = []
    for line in lines:
        if line and sum(map(len, kept)) + len(line) + 3 * (len(kept) + 1) <= budget:
            kept.append(f"{bullet}{line}")
    if not kept:
        return None
    head = [f"*{title}*"] if title else []
    return {"type": "section", "text": _mrkdwn("\n".join(head + kept))}


def _context(parts: Iterable[str]) -> Block | None:
    elements = [_mrkdwn(part) for part in parts if part]
    return {"type": "context", "elements": elements} if elements else None


def _mrkdwn(text: str) -> Block:
    # verbatim: Slack makes no links or mentions out of what merely looks like one.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
