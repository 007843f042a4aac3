"""Grafana's panels, as much of them as the dashboards need.

The JSON is that of Grafana's own types: https://grafana.com/docs/grafana/latest/panels-visualizations/.
Every target has a `datasource` of its own, because tools that rewrite dashboards expect it there.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.dashboards import levels

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
#: Without a version Grafana takes options for those of its sixth and migrates them.
_PLUGIN_VERSION = "11.0.0"
COLUMN_WIDTH = 90


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Show:
    """How values are written and coloured; a `minimum` of None leaves the scale to Grafana.

    `others` has steps of their own for the series whose legend a pattern matches.
    """

    unit: str = "short"
    steps: Sequence[levels.Step] = tuple(levels.PLAIN)
    mappings: Sequence[Json] = ()
    no_value: str = "no data"
    links: Sequence[Json] = ()
    decimals: int | None = None
    others: Sequence[tuple[str, Sequence[levels.Step]]] = ()
    minimum: float | None = 0
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the label or the expression it shows, its heading and how."""

    source: str
    heading: str
    show: Show = Show()
    cell: str = ""
    width: int | None = None


def value_map(names: Mapping[float, tuple[str, str]]) -> Json:
    """A mapping of single values to (text, colour)."""
    options = {
        f"{value:g}": {"text": text, "color": color, "index": index}
        for index, (value, (text, color)) in enumerate(names.items())
    }
    return {"type": "value", "options": options}


def range_map(low: float, high: float, text: str, color: str) -> Json:
    """A mapping of all values from `low` to `high`."""
    result = {"text": text, "color": color, "index": 0}
    return {"type": "range", "options": {"from": low, "to": high, "result": result}}


def time_left(*links: Json) -> Show:
    """How `queries.run_out` is shown: none left is now, and more than any horizon is no growth."""
    never = range_map(levels.horizon("leak"), 1e12, "not growing", levels.GOOD)
    mappings = [value_map({0: ("now", "red")}), never]
    return Show("s", levels.forecast_steps(), mappings, links=links, decimals=0)


def link(title: str, uid: str, **variables: str) -> Json:
    """A data link to another of the dashboards, at the same time and over the same data source."""
    kept = {"datasource": "", "job": ""} | variables
    parts = [f"var-{n}={v}" if v else f"${{{n}:queryparam}}" for n, v in kept.items()]
    return {"title": title, "url": f"/d/{uid}?{'&'.join([*parts, '${__url_time_range}'])}"}


def stat(  # noqa: PLR0913  a panel has that many parts
    title: str,
    about: str,
    query: Query,
    show: Show,
    *,
    named: bool = False,
    background: bool = False,
) -> Json:
    """One large number, with the name of its series where `named`."""
    options = {
        "colorMode": "background" if background else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": _last(),
        "showPercentChange": False,
        "textMode": "value_and_name" if named else "value",
        "wideLayout": False,
    }
    return _panel("stat", title, about, [_instant(query, "A")], _field(show), options)


def bars(title: str, about: str, query: Query, show: Show) -> Json:
    """A bar for each series."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "namePlacement": "left",
        "reduceOptions": _last(),
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "color",
    }
    return _panel("bargauge", title, about, [_instant(query, "A")], _field(show), options)


def graph(  # noqa: PLR0913  a graph has that many parts
    title: str,
    about: str,
    queries: Sequence[Query],
    show: Show,
    *,
    stacked: bool = False,
    dashed: Mapping[str, str] | None = None,
    points: bool = False,
) -> Json:
    """Lines over time, or areas on top of one another.

    Args:
        title: of the panel.
        about: what it shows and what to do.
        queries: each gives any number of lines.
        show: units; its steps are not drawn, because levels are lines of their own.
        stacked: areas instead of lines.
        dashed: colours of those that are levels and not measurements, by their legend.
        points: bars instead of lines, for what happens now and then.
    """
    custom = {
        "drawStyle": "bars" if points else "line",
        "fillOpacity": 40 if stacked or points else 8,
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
        "thresholdsStyle": {"mode": "off"},
    }
    field = _field(show, {"color": {"mode": "palette-classic"}, "custom": custom})
    field["overrides"] = [_dashed(name, color) for name, color in (dashed or {}).items()]
    options = {
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": True,
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [_target(query, ref, "time_series") for query, ref in _lettered(queries)]
    return _panel("timeseries", title, about, targets, field, options)


def states(title: str, about: str, query: Query, mapping: Json, no_value: str = "no data") -> Json:
    """A bar for each series that says in which state it was when."""
    custom = {"fillOpacity": 80, "lineWidth": 0}
    field = _field(Show(mappings=[mapping], no_value=no_value), {"custom": custom})
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        "mergeValues": True,
        "perPage": 20,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    target = _target(query, "A", "time_series")
    return _panel("state-timeline", title, about, [target], field, options)


def table(  # noqa: PLR0913  a table has that many parts
    title: str,
    about: str,
    labels: Sequence[Column],
    values: Sequence[Column],
    sort: str,
    *,
    falling: bool = True,
) -> Json:
    """A row for each set of labels, and a column for each expression that has it.

    Args:
        title: of the panel.
        about: what it shows and what to do.
        labels: the columns that are labels; every expression has all of them, and no others.
        values: the columns that are expressions.
        sort: the heading of the column that the rows are sorted by.
        falling: the largest first, or the last of the alphabet.
    """
    lettered = list(zip(_letters(), values, strict=False))
    fields = [each.source for each in labels]
    fields += [f"Value #{ref}" if len(values) > 1 else "Value" for ref, _ in lettered]
    columns = [*labels, *values]
    organize = {
        "excludeByName": {"Time": True},
        "indexByName": {name: index for index, name in enumerate(fields)},
        "renameByName": dict(zip(fields, (each.heading for each in columns), strict=True)),
    }
    field = _field(Show(no_value="-"), {"custom": {"align": "auto", "filterable": False}})
    field["overrides"] = [_column(each) for each in columns]
    options = {
        "cellHeight": "sm",
        "showHeader": True,
        "sortBy": [{"desc": falling, "displayName": sort}],
    }
    targets = [_instant(Query(each.source), ref, "table") for ref, each in lettered]
    found = _panel("table", title, about, targets, field, options)
    merge: Json = {"id": "merge", "options": {}}
    return found | {"transformations": [merge, {"id": "organize", "options": organize}]}


def _panel(  # noqa: PLR0913, PLR0917  a panel has that many parts
    kind: str, title: str, about: str, targets: list[Json], field: Json, options: Json
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "pluginVersion": _PLUGIN_VERSION,
        "targets": targets,
        "fieldConfig": field,
        "options": options,
    }


def _target(query: Query, ref: str, form: str) -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "format": form,
        "instant": False,
        "range": True,
        "legendFormat": query.legend or "__auto",
    }


def _instant(query: Query, ref: str, form: str = "time_series") -> Json:
    return _target(query, ref, form) | {"instant": True, "range": False}


def _lettered(queries: Sequence[Query]) -> Iterable[tuple[Query, str]]:
    return zip(queries, _letters(), strict=False)


def _letters() -> str:
    return string.ascii_uppercase


def _last() -> Json:
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _field(show: Show, more: Json | None = None) -> Json:
    return {"defaults": _shown(show) | (more or {}), "overrides": _others(show)}


def _others(show: Show) -> list[Json]:
    return [
        {
            "matcher": {"id": "byRegexp", "options": f"/^{pattern}$/"},
            "properties": [{"id": "thresholds", "value": _steps(steps)}],
        }
        for pattern, steps in show.others
    ]


def _steps(steps: Sequence[levels.Step]) -> Json:
    return {"mode": "absolute", "steps": list(steps)}


def _shown(show: Show) -> Json:
    optional = {"decimals": show.decimals, "min": show.minimum, "max": show.maximum}
    return {
        "unit": show.unit,
        "color": {"mode": "thresholds"},
        "thresholds": _steps(show.steps),
        "mappings": list(show.mappings),
        "noValue": show.no_value,
        "links": list(show.links),
        **{key: value for key, value in optional.items() if value is not None},
    }


def _dashed(name: str, color: str) -> Json:
    properties = {
        "color": {"mode": "fixed", "fixedColor": color},
        "custom.fillOpacity": 0,
        "custom.lineStyle": {"dash": [10, 10], "fill": "dash"},
        "custom.lineWidth": 2,
        "custom.stacking": {"group": "A", "mode": "none"},
    }
    return _override(name, properties)


def _column(column: Column) -> Json:
    show = _shown(column.show)
    properties = {
        key: show[key] for key in ("unit", "thresholds", "mappings", "links") if show[key]
    }
    properties |= {key: show[key] for key in ("min", "max", "decimals") if key in show}
    if column.cell:
        mode = {"mode": "basic"} if column.cell in {"gauge", "color-background"} else {}
        properties["custom.cellOptions"] = {"type": column.cell, **mode}
    properties["custom.width"] = column.width or COLUMN_WIDTH
    return _override(column.heading, properties)


def _override(name: str, properties: Mapping[str, object]) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }
