"""A Slack message as a person would read it, in plain lines.

Reads what messages here are made of: blocks with header, section, context and divider, and
attachments (https://docs.slack.dev/reference/block-kit/blocks).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

_DATE = re.compile(r"<!date\^[^|>]*\|([^>]*)>")
_LINK = re.compile(r"<((?:https?|mailto):[^|>]*)(?:\|([^>]*))?>")
_MENTION = re.compile(r"<[!@#]([^|>]*)(?:\|([^>]*))?>")


def slack_text(payload: Mapping[str, Any]) -> str:
    """The lines of a message to an incoming webhook: links written out, formatting removed."""
    lines = list(_lines(payload))
    if not payload.get("blocks"):  # with blocks, the text is only the telephone's notification
        lines.insert(0, _plain(payload.get("text", "")))
    return "\n".join(lines).strip()


def _lines(part: Mapping[str, Any]) -> Iterator[str]:
    for block in part.get("blocks") or ():
        yield from _block(block)
    for attachment in part.get("attachments") or ():
        found = list(_lines(attachment))
        yield from found or [_plain(attachment.get("text") or attachment.get("fallback", ""))]


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one block; buttons are for pressing, and left out."""
    if text := block.get("text"):
        yield from _plain(text).splitlines()
    for each in block.get("fields") or ():
        yield " ".join(_plain(each).split("\n"))
    if block.get("type") == "context":
        yield " · ".join(_plain(each) for each in block.get("elements") or ())


def _plain(text: object) -> str:
    """A text object or a string without mrkdwn; plain_text objects have none to remove."""
    if isinstance(text, Mapping):
        if text.get("type") == "image":
            return str(text.get("alt_text", ""))
        if text.get("type") == "plain_text":
            return str(text.get("text", ""))
        text = text.get("text", "")
    found = _DATE.sub(r"\1", str(text))
    found = _LINK.sub(lambda link: f"{link[2]} ({link[1]})" if link[2] else link[1], found)
    found = _MENTION.sub(lambda mention: mention[2] or f"@{mention[1]}", found)
    found = re.sub(r"(?<!\w)\*(\S(?:[^*\n]*\S)?)\*(?!\w)", r"\1", found)
    return html.unescape(found.replace("```", "").replace("`", ""))
