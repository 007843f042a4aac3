"""The shipped dashboards: their panels, and expressions with Grafana's variables filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.pages import ROOT

FOLDER = ROOT / "dashboards"
NAMES = ("fleet", "headroom", "poolers")
#: What Grafana puts for a variable of which all values are chosen, and for a short span of time.
EVERYTHING = {"job": ".+", "server": ".+", "pooler": ".+", "window": "5s", "__rate_interval": "5s"}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(__\w+|[a-z]\w*))")

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One expression of a dashboard, before its variables are filled in."""

    dashboard: str
    where: str
    expr: str
    instant: bool

    def filled(self, values: Mapping[str, str]) -> str:
        """The expression as Grafana sends it."""
        return _VARIABLE.sub(lambda found: values[found[1] or found[2]], self.expr)


def load(name: str) -> Json:
    """`dashboards/NAME.json`."""
    found: Json = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return found


def panels(dashboard: Json, *, rows: bool = False) -> Iterator[Json]:
    """Every panel, those of collapsed rows too."""
    for panel in dashboard["panels"]:
        if panel["type"] != "row" or rows:
            yield panel
        yield from panel.get("panels", ())


def variables(dashboard: Json) -> dict[str, Json]:
    """The variables by name."""
    return {each["name"]: each for each in dashboard["templating"]["list"]}


def asked(name: str) -> Iterator[Asked]:
    """Every expression of a dashboard, those of its annotations too."""
    dashboard = load(name)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            where = f"{panel['title']} {target['refId']}"
            yield Asked(name, where, target["expr"], target["instant"])
    for each in dashboard["annotations"]["list"]:
        yield Asked(name, f"annotation {each['name']}", each["expr"], instant=False)


def used_variables(text: str) -> set[str]:
    """The names of the variables in `text`."""
    return {one or other for one, other in _VARIABLE.findall(text)}


def selectors(expr: str) -> list[tuple[str, str]]:
    """(the series, its matchers) of every selector."""
    return re.findall(r"\b([a-zA-Z_]\w*)\{([^}]*)\}", expr)


def filled(text: str) -> str:
    """`text` with every value of every variable."""
    return _VARIABLE.sub(lambda found: EVERYTHING[found[1] or found[2]], text)


each_dashboard = pytest.mark.parametrize("name", NAMES)
each_panel = pytest.mark.parametrize(
    "panel",
    [pytest.param(p, id=f"{name}: {p['title']}") for name in NAMES for p in panels(load(name))],
)
each_expression = pytest.mark.parametrize(
    "each", [pytest.param(e, id=f"{e.dashboard}: {e.where}") for n in NAMES for e in asked(n)]
)
