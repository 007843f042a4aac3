"""Go's `printf` for the verbs that templates use, checked against its arguments beforehand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from exporter.rules import formats

_VERB = re.compile(
    r"%(?P<flags>[-+ 0]*)(?P<width>\d{0,3})(?:\.(?P<digits>\d{1,2}))?(?P<verb>.)", re.DOTALL
)
_KINDS: Mapping[str, tuple[str, ...]] = {
    "float": ("f", "F", "e", "g", "v"),
    "int": ("d", "v"),
    "string": ("s", "q", "v"),
}
_INSTEAD = {"float": "%.0f", "int": "%d", "string": "%s"}
_WORDS = {"float": "a floating-point number", "int": "an integer", "string": "text"}


class Format:
    """A format whose verbs fit the kinds ("float", "int", "string") of its arguments.

    Raises:
        ValueError: a verb is unknown or does not fit, or their number differs from the arguments'.
    """

    def __init__(self, text: str, kinds: tuple[str, ...]) -> None:
        self._parts: list[str | Callable[[float | int | str], str]] = []
        verbs, at = 0, 0
        while (start := text.find("%", at)) >= 0:
            self._parts.append(text[at:start])
            found = _VERB.match(text, start)
            if not found:
                raise ValueError(f"printf {text!r}: % is not followed by a verb; write %% for %")
            at = found.end()
            if found[0] == "%%":
                self._parts.append("%")
                continue
            if verbs < len(kinds):
                _check(text, found, kinds[verbs])
            self._parts.append(_printer(found))
            verbs += 1
        self._parts.append(text[at:])
        if verbs != len(kinds):
            raise ValueError(f"printf {text!r} takes {verbs} values, not {len(kinds)}")

    def __call__(self, *values: float | str) -> str:
        """The text with `values` in the places of the verbs."""
        rest = iter(values)
        return "".join(part if isinstance(part, str) else part(next(rest)) for part in self._parts)


def _check(text: str, found: re.Match[str], kind: str) -> None:
    verb = found["verb"]
    if verb not in _KINDS[kind] or (found["digits"] and kind != "float"):
        raise ValueError(
            f"printf {text!r}: {found[0]} does not print {_WORDS[kind]}; write {_INSTEAD[kind]}"
        )


def _printer(found: re.Match[str]) -> Callable[[float | int | str], str]:
    flags, width = found["flags"], int(found["width"] or 0)
    digits = None if found["digits"] is None else int(found["digits"])

    def printer(value: float | str) -> str:
        if isinstance(value, str):
            body = json.dumps(value, ensure_ascii=False) if found["verb"] == "q" else value
        else:
            body = _signed(_digits(value, found["verb"], digits), flags)
        zeros = "0" in flags and body[-1:].isdigit() and not isinstance(value, str)
        return _padded(body, flags if zeros else flags.replace("0", ""), width)

    return printer


def _digits(value: float, verb: str, digits: int | None) -> str:
    if isinstance(value, int):
        return str(value)
    words = formats.special(value)
    if words:
        return words
    if verb in "gv":
        return formats.shortest(value) if digits is None else f"{value:.{digits}g}"
    return f"{value:.{6 if digits is None else digits}{verb}}"


def _signed(body: str, flags: str) -> str:
    """`body` with the sign that the flags ask for; NaN and +Inf bring or take their own."""
    plain = body.removeprefix("+")
    if plain.startswith("-"):
        return plain
    if "+" in flags:
        return f"+{plain}"
    if " " in flags:
        return f" {plain}"
    return body


def _padded(body: str, flags: str, width: int) -> str:
    if "-" in flags:
        return body.ljust(width)
    if "0" in flags:
        return body.zfill(width) if body[:1] != " " else " " + body[1:].zfill(width - 1)
    return body.rjust(width)
