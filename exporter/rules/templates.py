"""The part of Prometheus' templates that annotations and labels use.

Text with actions in double braces: `{{ $value }}`, `{{ $labels.server }}`, literals, pipelines,
parentheses, comments, trim markers and the functions of `_FUNCTIONS`. Control structures and
queries are refused when a rule is loaded. `printf` is checked against the kinds of its arguments
then, so that a notification never shows Go's `%!d(float64=3)`.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from exporter.rules import formats
from exporter.rules.printf import Format

Kind = Literal["float", "int", "string"]
Value = float | int | str
Labels = Mapping[str, str]


class TemplateError(ValueError):
    """Why a template cannot be used, as a sentence."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Something that an action prints or passes on, and the kind of value that it gives.

    `literal` is the text of a literal string, which alone can be a format.
    """

    kind: Kind
    of: Callable[[Labels, float], Value]
    literal: str | None = None


def _number_of(value: Value) -> float:
    return formats.number(value) if isinstance(value, str) else float(value)


_HUMANIZE: Mapping[str, Callable[[float], str]] = {
    "humanize": formats.humanize,
    "humanize1024": formats.humanize1024,
    "humanizePercentage": formats.humanize_percentage,
    "humanizeDuration": formats.humanize_duration,
}
_CASE: Mapping[str, Callable[[str], str]] = {"toUpper": str.upper, "toLower": str.lower}
_FUNCTIONS = (*_HUMANIZE, *_CASE, "printf")
_CONTROL = frozenset(
    ("if", "else", "end", "range", "with", "define", "template", "block", "query", "first")
)
_ACTION = re.compile(
    r"""\{\{(?P<left>-\s)?
        (?:\s*/\*(?P<comment>.*?)\*/\s*
        |(?P<body>(?:[^"`}]|"(?:\\.|[^"\\\n])*"|`[^`]*`|\}(?!\}))*?))
        (?P<right>(?<=\s)-)?\}\}""",
    re.VERBOSE | re.DOTALL,
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
        |(?P<number>[+-]?\d+(?:\.\d+)?(?![\w.]))
        |(?P<name>[$.]?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
        |(?P<mark>[|()]))""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r'\\(?:(["\\nrt])|u([0-9a-fA-F]{4})|(.))', re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
#: Of Go's integers.
_LARGEST = 2**63 - 1
_DEEPEST = 64


def expand(template: str, labels: Labels, value: float) -> str:
    """`template` with its actions carried out; a label that is absent is empty.

    A template that cannot be expanded gives `<error expanding template: ...>`, as in Prometheus:
    whatever is wrong with a text, the alert that it belongs to is told.
    """
    try:
        return "".join(
            part if isinstance(part, str) else _printed(part.of(labels, value))
            for part in compiled(template)
        )
    except Exception as error:  # noqa: BLE001  as Prometheus, which recovers from panics here
        return f"<error expanding template: {error}>"


def problem(template: str) -> str:
    """Why `template` cannot be used, "" when it can."""
    try:
        compiled(template)
    except TemplateError as error:
        return str(error)
    return ""


def _printed(value: Value) -> str:
    return formats.shortest(value) if isinstance(value, float) else str(value)


@lru_cache(maxsize=1024)
def compiled(template: str) -> tuple[str | Operand, ...]:
    """The template's texts and actions, in order.

    Raises:
        TemplateError: an action does not end, or does what is not done here.
    """
    parts: list[str | Operand] = []
    rest, trim = _whole(template), False
    while True:
        text, opened, _ = rest.partition("{{")
        text = text.lstrip(" \t\r\n") if trim else text
        if not opened:
            return (*parts, text) if text else tuple(parts)
        found = _ACTION.match(rest, rest.index("{{"))
        if not found:
            raise TemplateError("an action that begins with {{ does not end with }}")
        text = text.rstrip(" \t\r\n") if found["left"] else text
        parts += [text] if text else []
        if found["comment"] is None:
            parts.append(_Action(found["body"]).operand())
        rest, trim = rest[found.end() :], bool(found["right"])


class _Action:
    """Reads one action: operands and calls, joined by pipes."""

    def __init__(self, body: str) -> None:
        self._body = body.strip()
        self._tokens = _tokens(self._body)
        self._next = 0
        self._depth = 0

    def operand(self) -> Operand:
        result = self._pipeline()
        if self._peek() is not None:
            raise TemplateError(f"{{{{ {self._body} }}}} has a parenthesis too many")
        return result

    def _peek(self) -> str | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _pipeline(self) -> Operand:
        result = self._command(None)
        while self._peek() == "|":
            self._next += 1
            result = self._command(result)
        return result

    def _command(self, piped: Operand | None) -> Operand:
        """A function and its arguments, or one operand; what is piped in is the last argument."""
        words: list[Operand | str] = []
        while (word := self._peek()) not in (None, "|", ")"):
            self._next += 1
            words.append(self._group() if word == "(" else _word(str(word)))
        arguments = [word for word in words[1:] if isinstance(word, Operand)]
        if len(arguments) != len(words[1:]):
            raise TemplateError(
                f"{{{{ {self._body} }}}}: put a function that is an argument in ( )"
            )
        if piped is not None:
            arguments.append(piped)
        if not words:
            raise TemplateError(f"{{{{ {self._body} }}}} lacks a value")
        if isinstance(words[0], str):
            return _call(words[0], arguments)
        if arguments:
            raise TemplateError(f"{{{{ {self._body} }}}} gives arguments to what is no function")
        return words[0]

    def _group(self) -> Operand:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"an action is nested more than {_DEEPEST} deep")
        result = self._pipeline()
        if self._peek() != ")":
            raise TemplateError(f"{{{{ {self._body} }}}} lacks a closing parenthesis")
        self._next += 1
        self._depth -= 1
        return result


def _tokens(body: str) -> list[str]:
    tokens, at = [], 0
    while at < len(body):
        found = _TOKEN.match(body, at)
        if not found:
            raise TemplateError(
                f"{{{{ {body} }}}} is not understood at {body[at:].strip()!r}; values, labels,"
                " pipelines and functions are"
            )
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


def _word(token: str) -> Operand | str:
    """The operand that a token stands for, or the name of a function."""
    if token[0] in '"`':
        text = token[1:-1] if token[0] == "`" else _ESCAPE.sub(_unescaped, token[1:-1])
        return Operand("string", lambda _labels, _value: text, text)
    if token[0] in "+-0123456789":
        return _number(token)
    if token in ("$value", ".Value"):
        return Operand("float", lambda _labels, value: value)
    head, dot, name = token.lstrip("$.").partition(".")
    if dot and token[0] + head in ("$labels", ".Labels") and "." not in name:
        return _label(name)
    if token in _FUNCTIONS:
        return token
    raise TemplateError(_unknown(token))


def _number(token: str) -> Operand:
    if "." in token:
        decimal = float(token)
        if math.isinf(decimal):
            raise TemplateError(f"{token[:20]}... is too large for a number")
        return Operand("float", lambda _labels, _value: decimal)
    # Python, too, refuses to read thousands of digits.
    if len(token) > len(str(-_LARGEST)) or abs(int(token)) > _LARGEST:
        raise TemplateError(f"{token[:20]}... is too large for an integer")
    whole = int(token)
    return Operand("int", lambda _labels, _value: whole)


def _label(name: str) -> Operand:
    if name == "__name__":
        raise TemplateError("$labels.__name__ is not kept; write the name of the series instead")
    return Operand("string", lambda labels, _value: labels.get(name, ""))


def _unescaped(found: re.Match[str]) -> str:
    if found[3] is not None:
        raise TemplateError(f"the escape \\{found[3]} in a string is not known")
    return _ESCAPED[found[1]] if found[1] else _whole(chr(int(found[2], 16)))


def _whole(text: str) -> str:
    """`text`, unless half of a character is in it: nothing could be sent that says it."""
    if any(unicodedata.category(character) == "Cs" for character in text):
        raise TemplateError("half a character (\\uD800 to \\uDFFF) is no text")
    return text


def _unknown(token: str) -> str:
    if token in _CONTROL:
        return f"{token!r} is not evaluated here; templates print values, labels and functions"
    known = f"known are $value, $labels.NAME and the functions {', '.join(_FUNCTIONS)}"
    what = "variable" if token[0] in "$." else "function"
    return f"{what} {token!r} is not known; {known}"


def _call(name: str, arguments: list[Operand]) -> Operand:
    if name == "printf":
        return _printf(arguments)
    if len(arguments) != 1:
        raise TemplateError(f"{name} takes one value, not {len(arguments)}")
    of = arguments[0].of
    if name in _CASE:
        if arguments[0].kind != "string":
            raise TemplateError(f"{name} takes text, not a number")
        case = _CASE[name]
        return Operand("string", lambda labels, value: case(str(of(labels, value))))
    humanize = _HUMANIZE[name]
    return Operand("string", lambda labels, value: humanize(_number_of(of(labels, value))))


def _printf(arguments: list[Operand]) -> Operand:
    if not arguments or arguments[0].literal is None:
        raise TemplateError('printf begins with its format in quotes, e.g. printf "%.0f" $value')
    values = arguments[1:]
    try:
        layout = Format(arguments[0].literal, tuple(value.kind for value in values))
    except ValueError as error:
        raise TemplateError(str(error)) from None
    return Operand("string", lambda labels, value: layout(*(v.of(labels, value) for v in values)))
