r"""RE2 patterns, as label matchers write them, for Python's `re`.

Only what both mean alike is translated: alternatives, groups, repetitions, classes and the ASCII
classes \d \w \s. The rest is refused when a rule is loaded, so that a rule never matches other
series here than in Prometheus. Patterns are anchored at both ends and `.` matches a line break, as
in Prometheus 3 (https://prometheus.io/docs/prometheus/3.0/migration/#regular-expressions-match-newlines).
"""

from __future__ import annotations

import re
import sys

_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_HEX = re.compile(r"x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})")
_REPEAT = re.compile(r"(?:[*+?]|\{(\d{1,4})(?:,(\d{0,4}))?\})\??")
#: RE2 refuses to repeat more often.
_MOST = 1000


class PatternError(ValueError):
    """Why a pattern cannot be used, as a sentence."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """`pattern` for `fullmatch`.

    Raises:
        PatternError: it is no regular expression, or may mean something else in RE2.
    """
    body, flags = pattern, re.DOTALL
    if body.startswith("(?i)"):
        body, flags = body[4:], flags | re.IGNORECASE
    try:
        return re.compile(_Translation(body).text, flags)
    except re.error as error:
        raise PatternError(f"{pattern!r} is not a regular expression: {error.msg}") from None


class _Translation:
    """One pass over a pattern; `text` is what Python reads."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        parts = []
        while self._at < len(pattern):
            parts.append(self._piece())
        self.text = "".join(parts)

    def _refused(self, what: str) -> PatternError:
        return PatternError(f"{self._pattern!r}: {what} is not evaluated here")

    def _piece(self) -> str:
        character = self._pattern[self._at]
        repeat = _REPEAT.match(self._pattern, self._at)
        if repeat:
            return self._repeat(repeat)
        self._at += 1
        if character == "\\":
            return self._escape(in_class=False)
        if character == "[":
            return self._class()
        if character == "(":
            return self._group()
        return {"^": r"\A", "$": r"\Z"}.get(character) or (
            character if character in ".|)" else re.escape(character)
        )

    def _repeat(self, found: re.Match[str]) -> str:
        self._at = found.end()
        if max(int(found[1] or 0), int(found[2] or 0)) > _MOST:
            raise PatternError(f"{self._pattern!r} repeats more than {_MOST} times")
        if _REPEAT.match(self._pattern, self._at):
            raise self._refused("a repetition of a repetition")
        return found[0]

    def _group(self) -> str:
        if self._pattern.startswith("?:", self._at):
            self._at += 2
        elif self._pattern.startswith("?", self._at):
            raise self._refused(f"({self._pattern[self._at : self._at + 2]}")
        return "(?:"

    def _escape(self, *, in_class: bool) -> str:
        """What follows a backslash, which has been read."""
        character = self._pattern[self._at : self._at + 1]
        found = _HEX.match(self._pattern, self._at)
        self._at += found.end() - self._at if found else 1
        if found:
            return self._character(int(found[1] or found[2], 16))
        if character in _CONTROLS:
            return re.escape(_CONTROLS[character])
        if character in _CLASSES:
            return _CLASSES[character] if in_class else f"[{_CLASSES[character]}]"
        if character.lower() in _CLASSES and not in_class:
            return f"[^{_CLASSES[character.lower()]}]"
        if not character or not character.isascii() or character.isalnum():
            raise self._refused(f"\\{character}")
        return re.escape(character)

    def _class(self) -> str:
        """A bracketed class, whose opening bracket has been read."""
        parts = ["["]
        if self._pattern.startswith("^", self._at):
            self._at += 1
            parts.append("^")
        first = self._at
        while self._at == first or not self._pattern.startswith("]", self._at):
            character = self._pattern[self._at : self._at + 1]
            if not character:
                raise PatternError(f"{self._pattern!r} has a class without its closing bracket")
            if character == "[" or self._pattern.startswith(("&&", "--", "~~", "||"), self._at):
                raise self._refused(f"{self._pattern[self._at : self._at + 2]} in a class")
            self._at += 1
            parts.append(self._member(character))
        self._at += 1
        return "".join(parts) + "]"

    def _member(self, character: str) -> str:
        if character == "\\":
            return self._escape(in_class=True)
        return character if character == "-" else re.escape(character)

    def _character(self, code: int) -> str:
        if code > sys.maxunicode:
            raise PatternError(f"{self._pattern!r} names a character that does not exist")
        return re.escape(chr(code))
