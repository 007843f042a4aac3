"""Lists that are spread over files: `include:` names them, their entries are appended.

A directory of files, one for each team or each server, is how a Kubernetes ConfigMap or a
configuration management system adds a server without touching what others own.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.config.base import expanded
from exporter.config.errors import Problem

#: The sections that an included file may have.
SECTIONS = ("servers", "poolers", "receivers", "routes")
_PLACE = re.compile(rf"\b({'|'.join(SECTIONS)})\[(\d+)\]")


def included_files(patterns: object, base: Path) -> tuple[list[Path], list[Problem]]:
    """The files that `include:` names, in the order of the patterns, then by name.

    A pattern that matches nothing is an empty directory, and fine; a plain path must be there.
    Names that begin with a dot never match `*`: so Kubernetes names what a ConfigMap's files are
    links to.
    """
    if not isinstance(patterns, list) or not all(isinstance(each, str) for each in patterns):
        return [], []  # the model says what is wrong with it
    files: list[Path] = []
    problems: list[Problem] = []
    for index, pattern in enumerate(patterns):
        try:
            path = base / expanded(pattern)
        except ValueError as error:
            problems.append(Problem(f"include[{index}]", str(error)))
            continue
        found = sorted(glob.glob(str(path)))  # noqa: PTH207  Path.glob would match hidden files
        if not found and not glob.has_magic(pattern):
            problems.append(Problem(f"include[{index}]", f"there is no file {path}"))
        files += [Path(each) for each in found if Path(each) not in files]
    return files, problems


@dataclass
class Merger:
    """Appends the lists of included files to those of the main file, and knows whose each is."""

    raw: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    _origins: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    _own: dict[str, int] = field(default_factory=dict)

    def add(self, origin: str, raw: Mapping[str, Any]) -> None:
        """Append what the file `origin` has."""
        for section, entries in raw.items():
            if section not in SECTIONS:
                known = ", ".join(f"{name}:" for name in SECTIONS)
                self.problems.append(
                    Problem(f"{origin}: {section}", f"an included file may have {known} only")
                )
            elif not isinstance(entries, list):
                if entries is not None:
                    self.problems.append(Problem(f"{origin}: {section}", "not a list"))
            else:
                self._append(origin, section, entries)

    def _append(self, origin: str, section: str, entries: list[Any]) -> None:
        before = self.raw.get(section)
        if before is not None and not isinstance(before, list):
            return  # the model says what is wrong with the main file's own
        own = list(before or [])
        self._own.setdefault(section, len(own))
        origins = self._origins.setdefault(section, [])
        origins += [(origin, index) for index in range(len(entries))]
        self.raw[section] = own + entries

    def located(self, problems: Iterator[Problem]) -> Iterator[Problem]:
        """`problems` of the merged lists, each at the place where a person wrote the entry."""
        for problem in problems:
            yield Problem(self._placed(problem.where), self._placed(problem.message))

    def _placed(self, text: str) -> str:
        """`servers[4].dsn` of the whole as `servers.d/b.yaml: servers[0].dsn`."""

        def place(found: re.Match[str]) -> str:
            section, number = found[1], int(found[2]) - self._own.get(found[1], 0)
            origins = self._origins.get(section, [])
            if not 0 <= number < len(origins):
                return found[0]
            origin, index = origins[number]
            return f"{origin}: {section}[{index}]"

        return _PLACE.sub(place, text)
