"""The values of the chart, what their comments say, and the table of its README."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "pgheadroom"


def defaults() -> Any:  # noqa: ANN401  YAML
    """`values.yaml` as Helm reads it."""
    return yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml, dotted, with its default as YAML and what its comment says."""

    key: str
    default: str
    description: str


def values() -> list[Value]:
    """The keys that hold something, in the order of the file."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    return [
        Value(key, _shown(_at(defaults, key.split("."))), comment)
        for key, comment in _commented(text)
        if comment
        or not isinstance(_at(defaults, key.split(".")), dict)
        or not _at(defaults, key.split("."))
    ]


def _commented(text: str) -> Iterator[tuple[str, str]]:
    """(dotted key, comment) of every mapping key; a comment begins with `# --`."""
    place: list[tuple[int, str]] = []
    comment: list[str] = []
    hidden = -1
    for line in text.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if stripped.startswith("#"):
            comment = [] if stripped.startswith("# --") else comment
            comment += [stripped.lstrip("#").strip().removeprefix("--").strip()]
            continue
        found = re.match(r"([A-Za-z_][\w./-]*):(\s|$)", stripped)
        if not stripped or not found:
            comment = []
            continue
        place = [each for each in place if each[0] < indent] + [(indent, found[1])]
        if not -1 < hidden < indent:
            hidden = -1
            yield ".".join(key for _, key in place), " ".join(comment)
            # A mapping that is explained as a whole is not taken apart.
            hidden = indent if comment else -1
        comment = []


def _at(values: Any, place: list[str]) -> Any:  # noqa: ANN401  YAML
    for key in place:
        values = values[key]
    return values


def _shown(value: object) -> str:
    return json.dumps(value) if value != "" else '`""`'.strip("`")


def table() -> str:
    """The values, their defaults and what they mean."""
    rows = [f"| `{v.key}` | `{v.default}` | {v.description} |" for v in values()]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"
