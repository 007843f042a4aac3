"""Every problem of a configuration at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.hints import key_hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`servers[0].dsn`), and what to do. Never a secret."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says everything that is wrong with it."""

    def __init__(self, origin: str, problems: Iterable[Problem]) -> None:
        self.origin = origin
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.origin}: {count} problem{'s' if count != 1 else ''}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """What pydantic found, in our words; its own would repeat the input, which may be a secret."""
    schema = model.model_json_schema()
    for detail in error.errors(include_url=False, include_input=False):
        where = _place(detail)
        for line in _message(detail, schema).splitlines():
            yield Problem(where, line)


def _place(detail: ErrorDetails) -> str:
    """`servers[0].dsn`, without the tag that pydantic puts in for a kind of receiver."""
    place = ""
    location = list(detail["loc"])
    for index, part in enumerate(location):
        is_tag = index > 1 and location[0] == "receivers" and index == 2  # noqa: PLR2004
        if is_tag and isinstance(part, str):
            continue
        if isinstance(part, int):
            place += f"[{part}]"
        else:
            place += f".{part}" if place else str(part)
    return place


def _message(detail: ErrorDetails, schema: dict[str, Any]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        hint = key_hint(detail["loc"], schema)
        return f"unknown key; {hint}" if hint else "unknown key"
    if kind == "missing":
        return "missing; this key is required"
    if kind == "union_tag_not_found":
        return f"type is missing; write {' or '.join(f'type: {name}' for name in _kinds(schema))}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    return detail["msg"][:1].lower() + detail["msg"][1:]


def _kinds(schema: dict[str, Any]) -> list[str]:
    """The kinds of receiver there are."""
    mapping: dict[str, str] = schema["properties"]["receivers"]["items"]["discriminator"]["mapping"]
    return sorted(mapping)
