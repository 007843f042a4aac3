"""Figures beside their targets: on the terminal, and in docs/performance.md between two markers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """What stands around a part of the page that a bench writes."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


BEGIN, END = markers("bench")
_VERDICTS = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ok` is None where there is nothing to meet."""

    name: str
    target: str
    measured: str
    ok: bool | None = None

    @classmethod
    def below(cls, name: str, value: float, limit: float, unit: str, note: str = "") -> Figure:
        """A figure that has to stay at or below `limit`.

        >>> Figure.below("resident memory", 70.04, 75, "MiB").measured
        '70.0 MiB'
        """
        shown = f"{value:.0f}" if limit >= 100 else f"{value:.1f}"  # noqa: PLR2004  digits that matter
        measured = f"{shown} {unit}{f' ({note})' if note else ''}"
        return cls(name, f"≤ {limit:.3g} {unit}", measured, value <= limit)


PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_HEAD = Figure("figure", "target", "measured")


def table(figures: Sequence[Figure]) -> str:
    """For a terminal, in columns."""
    rows = [(each.name, each.target, each.measured, _VERDICTS[each.ok]) for each in figures]
    rows = [(_HEAD.name, _HEAD.target, _HEAD.measured, "ok"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def markdown(figures: Sequence[Figure], circumstances: Sequence[str]) -> str:
    """For the page: the table, and under what circumstances it was measured."""
    lines = ["| figure | target | measured | ok |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {each.name} | {each.target} | {each.measured} | {_VERDICTS[each.ok]} |"
        for each in figures
    ]
    return "\n".join([*lines, "", *(f"- {each}" for each in circumstances)])


def write(path: Path, text: str, name: str = "bench") -> None:
    """Put `text` between the markers of `path` that carry `name`.

    Raises:
        ValueError: it has no such markers.
    """
    first, last = markers(name)
    before, begin, rest = path.read_text("utf-8").partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{path} has no {first} and {last}")
    path.write_text(f"{before}{first}\n{text}\n{last}{after}", "utf-8")


def say(what: str) -> None:
    """Where the bench is, on one line that redraws itself; a log gets none of it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def revision() -> str:
    """The commit that is measured."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607  whichever git is there
        capture_output=True,
        text=True,
        check=False,
        cwd=PAGE.parent,
    ).stdout.strip()
    return found or "unknown"
