"""The tables of the pages in `PAGES`, made from the code they describe.

`python tools/reference.py` exits with 1 and names the pages that differ; `--write` makes them
agree. Everything outside the marked part of a page is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from exporter.config.model import Config
from exporter.metrics.alerts import alert_families
from exporter.metrics.caps import Cap
from exporter.metrics.compatibility import compatible_families
from exporter.metrics.families import Families, merged
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.metrics.server import server_families
from exporter.metrics.telemetry import Late, Receiving, Reload, own_families
from exporter.metrics.view import Caps
from exporter.snapshot.activity import Activity, BackendGroup
from exporter.snapshot.pool import ClientGroup, Pool, PoolDatabase, PoolerFacts, PoolerSnapshot
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import (
    Failure,
    Probe,
    Reason,
    ServerFacts,
    ServerState,
    SessionCounters,
    Snapshot,
)
from exporter.snapshot.slots import Limits

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- begin: made by tools/reference.py, do not edit -->"
END = "<!-- end -->"
Schema = Mapping[str, Any]
SCHEMA: Schema = Config.model_json_schema()
#: The settings that are times.
#: Which settings have a unit, as rows.parameters makes it of the server's own word.
_UNITS_OF = (
    (re.compile("timeout|interval|keepalives_idle"), "_seconds"),
    (re.compile(r"_query_size$"), "_bytes"),
)
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def configuration() -> str:
    """Every key of the configuration file, a table for each mapping."""
    return "\n".join(f"{heading}\n\n{text}\n" for heading, text in _sections())


def _sections() -> Iterator[tuple[str, str]]:
    """(heading, text) of each mapping: the file itself, then each model with all of its places."""
    yield "## The file", _table(SCHEMA)
    for name, places in _places(SCHEMA).items():
        headings = (f"`{place}`".replace(" with ", "` with `") for place in places)
        yield f"## {', '.join(headings)}", _table(SCHEMA["$defs"][name])


def _places(model: Schema, place: str = "") -> dict[str, list[str]]:
    """Where each model below `model` is written, in the order of the file."""
    found: dict[str, list[str]] = {}
    for key, part in model["properties"].items():
        for suffix, name in _models(part):
            where = _within(place, f"{key}{suffix}")
            inner = _places(SCHEMA["$defs"][name], where)
            for each, places in ({name: [where]} | inner).items():
                found.setdefault(each, []).extend(places)
    return found


def _within(place: str, key: str) -> str:
    """`key` in the mapping at `place`, whose kind stays at the end."""
    base, tagged, kind = place.partition(" with ")
    return f"{base}.{key}{tagged}{kind}" if base else key


def _table(model: Schema) -> str:
    about = [line for line in model["description"].splitlines() if line]
    rows = [_row(key, part, model) for key, part in model["properties"].items()]
    head = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*about, "", *head, *rows])


def _models(part: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
    """(what is written after the key, model) of the mappings that a key holds."""
    if "$ref" in part:
        yield suffix, part["$ref"].rpartition("/")[2]
    for kind, ref in part.get("discriminator", {}).get("mapping", {}).items():
        yield f"{suffix} with type: {kind}", ref.rpartition("/")[2]
    for choice in part.get("anyOf", ()):
        yield from _models(choice, suffix)
    if "items" in part:
        yield from _models(part["items"], f"{suffix}[]")
    if isinstance(part.get("additionalProperties"), dict):
        yield from _models(part["additionalProperties"], f"{suffix}.NAME")


def _row(key: str, part: Schema, model: Schema) -> str:
    meaning = " ".join(part.get("description", "").split())
    default = "required" if key in model.get("required", ()) else _default(part)
    return f"| `{key}` | {_type(part)} | {default} | {meaning} |"


def _type(part: Schema) -> str:
    if _is_duration(part):
        return "duration" + " or null" * ({"type": "null"} in part["anyOf"])
    if "anyOf" in part:
        return " or ".join(_type(choice) for choice in part["anyOf"])
    if "const" in part or "enum" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", (part.get("const"),)))
    return _plain_type(part, part.get("type", "object"))


def _plain_type(part: Schema, kind: str) -> str:
    if kind == "array":
        return f"list of {_type(part['items'])}s"
    if kind == "string":
        return {"password": "secret text", "path": "path"}.get(part.get("format", ""), "text")
    if kind in {"number", "integer"}:
        return _number(part)
    return {"object": "mapping", "boolean": "true or false"}.get(kind, kind)


def _number(part: Schema) -> str:
    if part.get("exclusiveMinimum") == 0 and part.get("maximum") == 1:
        return "ratio above 0, up to 1"
    low, high = part.get("minimum"), part.get("maximum")
    bounds = f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
    return ("whole number" if part["type"] == "integer" else "number") + bounds


def _is_duration(part: Schema) -> bool:
    return any("duration" in choice.get("description", "") for choice in part.get("anyOf", ()))


def _default(part: Schema) -> str:
    value = part.get("default")
    if "default" not in part or value in ([], {}, ""):
        return "empty"
    if isinstance(value, dict):
        return _changed(part, value)
    if isinstance(value, list) and isinstance(value[0], dict):
        return f"{len(value)} of them"
    return "none" if value is None else f"`{_text(value, part)}`"


def _changed(part: Schema, value: Schema) -> str:
    """A mapping's default: only what the defaults of its own keys do not say already."""
    model = SCHEMA["$defs"][next(name for _, name in _models(part))]
    usual = {key: own.get("default", {}) for key, own in model["properties"].items()}
    changed = {key: inner for key, inner in value.items() if inner != usual[key]}
    text = ", ".join(f"{k}: {_text(v, model['properties'][k])}" for k, v in changed.items())
    return f"`{{{text}}}`" if text else "as below"


def _text(value: object, part: Schema) -> str:
    if isinstance(value, float) and _is_duration(part):
        for size, unit in _UNITS:
            if value % size == 0 and value:
                return f"{value / size:.0f}{unit}"
    return f"{value:g}" if isinstance(value, float) else str(json.dumps(value)).strip('"')


def metrics() -> str:
    """Every series of our own, in the order of the exposition."""
    return _series(merged(every_family()))


def compatible() -> str:
    """Every series of postgres_exporter."""
    return _series(compatible_families(_state(), 7, Cap(), 1001.0))


def _series(families: Families) -> str:
    rows = ["| series | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families:
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = dict.fromkeys(label for each in family.samples for label in each.labels)
        listed = ", ".join(f"`{label}`" for label in labels if label != "le")
        kind = family.type.replace("unknown", "untyped")
        rows.append(f"| `{name}` | {kind} | {listed} | {family.documentation} |")
    return "\n".join(rows) + "\n"


def every_family() -> tuple[Families, ...]:
    """The families of a server with something of everything, of its alerts, and of ourselves."""
    alert = ({"server": "prod", "alertname": "X", "severity": "critical"}, "firing")
    slack = Receiving("slack", {"delivered": 1}, 1, 0, 2.0, False, {1.0: 1}, 1, 0.5)  # noqa: FBT003  a row
    own = own_families(
        [slack],
        Reload(successful=True, at=1000.0),
        Late({1.0: 1}, 1, 0.1),
        writable=True,
        heartbeat=True,
        silences=1,
    )
    server = server_families(_state(), Caps(), 1001.0)
    pooler = pooler_families(_pooler_state(), PoolerCaps(), 1001.0)
    return server, pooler, alert_families([alert]), own


def _state() -> ServerState:
    where = ("shop", "app", "checkout", "10.0.0.7")
    groups = (
        BackendGroup(*where, "idle in transaction", "Client", "ClientRead", "client backend", 2),
        BackendGroup(*where, "active", "Lock", "relation", "client backend", 1),
    )
    facts = ServerFacts(
        "18.1",
        180001,
        "primary",
        Limits(100, 3),
        {"app": 50},
        {"shop": 80},
        started_at=900.0,
        settings=dict.fromkeys(_settings(), 1.0),
        datconnlimit={"shop": 80},
        rolconnlimit={"app": 50},
    )
    databases = {("5", "shop"): 3}
    sessions = SessionCounters(9, 1, 1, 1, databases, databases)
    snapshot = Snapshot(1000.0, 0.001, Activity(1000.0, groups), facts, sessions)
    return ServerState(
        "prod",
        snapshot,
        failure=Failure(Reason.NETWORK, "connection refused"),
        failing_since=1000.0,
        failures={Reason.NETWORK: 1},
        growth_per_second=1.0,
        forecasts={"page": 20.0},
        probes={"direct": Probe("direct", 1000.0, 0.01)},
        thresholds={"connections_warning": 0.7},
        pool_capacity=40,
    )


def _pooler_state() -> PoolerState:
    pool = Pool("shop", "app", "transaction", *([1] * 13))
    database = PoolDatabase(
        "shop", pool_size=20, max_connections=30, current_connections=1, paused=0
    )
    snapshot = PoolerSnapshot(
        1000.0,
        0.001,
        PoolerFacts("1.24.1", max_client_conn=100),
        all_pools=(pool,),
        all_databases=(database,),
        lists={"used_clients": 1},
        clients=(ClientGroup("shop", "app", "checkout", "waiting", 1),),
    )
    return PoolerState(
        "prod",
        "pgb-1",
        snapshot,
        failure=Failure(Reason.NETWORK, "connection refused"),
        failing_since=1000.0,
        probes={"pgb-1": Probe("pgb-1", 1000.0, 0.01)},
        thresholds={"pool_used": 0.9},
        waits={"shop": 0.1},
        exports_clients=True,
    )


def _settings() -> list[str]:
    """Every setting that is read, by the name that rows.parameters gives it."""
    sql = (files("exporter.sources") / "sql" / "parameters.sql").read_text(encoding="utf-8")
    names = re.findall(r"'(\w+)'", sql.partition("where name in")[2])
    return [
        name + next((end for what, end in _UNITS_OF if what.search(name)), "") for name in names
    ]


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/configuration.md": configuration,
    "docs/metrics.md": metrics,
    "docs/migrating.md": compatible,
}


def rendered(page: str) -> str:
    """`page` as it should be: its marked part made anew."""
    before, begin, rest = (ROOT / page).read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{PAGES[page]()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """0 when every page agrees with the code or was made to, 1 otherwise."""
    stale = [page for page in PAGES if (ROOT / page).read_text(encoding="utf-8") != rendered(page)]
    for page in stale:
        if "--write" in arguments:
            (ROOT / page).write_text(rendered(page), encoding="utf-8")
        print(f"{page}: {'written' if '--write' in arguments else 'differs from the code'}")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
