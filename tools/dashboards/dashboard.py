"""A dashboard: its variables, annotations and links, and where its panels are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tools.dashboards import queries
from tools.dashboards.panels import DATASOURCE, Json

COLUMNS = 24
TAG = "pgheadroom"
FLEET, HEADROOM, POOLERS = "pgheadroom-fleet", "pgheadroom-headroom", "pgheadroom-poolers"


@dataclass(frozen=True, slots=True)
class Place:
    """A panel and its size in Grafana's grid, which is 24 wide."""

    panel: Json
    width: int
    height: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, wrapped at the right edge."""

    title: str
    places: Sequence[Place]
    collapsed: bool = False


def dashboard(
    uid: str, title: str, about: str, variables: Sequence[Json], rows: Sequence[Row]
) -> Json:
    """The JSON that Grafana imports, a sidecar mounts and the operator applies alike."""
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "description": about,
        "tags": [TAG, "postgresql", "connections"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource(), *variables]},
        "annotations": {"list": list(_annotations())},
        "links": [_links()],
        "panels": _placed(rows),
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
    }


def choice(name: str, label: str, query: str, *, several: bool = True) -> Json:
    """A variable with the values of a label, read anew when the time range changes."""
    found = {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "refresh": 2,
        "sort": 1,
        "multi": several,
        "includeAll": several,
    }
    everything = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return found | ({"allValue": ".+", "current": everything} if several else {})


def job() -> Json:
    """Which scrape jobs."""
    return choice("job", "Job", "label_values(pgheadroom_up, job)")


def interval(name: str, label: str, values: Sequence[str], default: str) -> Json:
    """A variable with spans of time."""
    return {
        "name": name,
        "label": label,
        "type": "interval",
        "query": ",".join(values),
        "refresh": 2,
        "current": {"selected": True, "text": default, "value": default},
        "options": [{"selected": v == default, "text": v, "value": v} for v in values],
    }


def _annotations() -> Iterator[Json]:
    """What explains a step in a line: alerts, restarts, failovers."""
    text = "{{server}}"
    for severity, color in (("critical", "red"), ("warning", "yellow")):
        found = queries.firing(f'severity="{severity}"')
        yield _annotation(f"Firing: {severity}", found, color, "{{alertname}}", text)
    started = f"{queries.server('pgheadroom_server_start_time_seconds')} * 1000"
    yield _annotation("Server restarts", started, "purple", "Postgres started", text, at_value=True)
    info = f"max by ({queries.SERVER}, role)"
    now, before = queries.select("pgheadroom_server_info"), " offset 2m"
    seen = f"max by ({queries.SERVER}) ({queries.select('pgheadroom_up')}{before})"
    changed = f"({info} ({now}) unless {info} ({now}{before})) and on ({queries.SERVER}) {seen}"
    yield _annotation("Role changes", changed, "blue", "Now {{role}}", text)
    ours = 'pgheadroom_config_last_reload_successful{job=~"$job"}'
    process = f'process_start_time_seconds{{job=~"$job"}} * 1000 and on (job, instance) {ours}'
    yield _annotation(
        "pgheadroom restarts", process, "text", "pgheadroom started", "{{instance}}", at_value=True
    )


def _annotation(  # noqa: PLR0913  an annotation has that many parts
    name: str, expr: str, color: str, title: str, text: str, *, at_value: bool = False
) -> Json:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": "30s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "server",
        "useValueForTime": at_value,
    }


def _links() -> Json:
    """To the other dashboards, with the variables and the time that are chosen here."""
    return {
        "title": "pgheadroom",
        "type": "dashboards",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _placed(rows: Sequence[Row]) -> list[Json]:
    """The panels of all rows with ids and places; those of a collapsed row are inside of it."""
    found: list[Json] = []
    number, top = 1, 0
    for row in rows:
        heading = {"type": "row", "id": number, "title": row.title, "collapsed": row.collapsed}
        heading["gridPos"] = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        inside, bottom = _wrapped(row.places, number + 1, top + 1)
        number, top = number + 1 + len(inside), top + 1 if row.collapsed else bottom
        found.append({**heading, "panels": inside if row.collapsed else []})
        found += [] if row.collapsed else inside
    return found


def _wrapped(places: Sequence[Place], number: int, top: int) -> tuple[list[Json], int]:
    """The panels from left to right and from `top` down, and where the next row begins."""
    found: list[Json] = []
    left, bottom = 0, top
    for place in places:
        if left + place.width > COLUMNS:
            left, top = 0, bottom
        where = {"h": place.height, "w": place.width, "x": left, "y": top}
        found.append({"id": number + len(found), **place.panel, "gridPos": where})
        left, bottom = left + place.width, max(bottom, top + place.height)
    return found, bottom
