"""Short ways to say what a pooler looks like, and what versions of PgBouncer were seen to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from exporter.snapshot.pool import (
    ClientGroup,
    Pool,
    PoolDatabase,
    PoolerFacts,
    PoolerSnapshot,
    PoolStats,
)
from exporter.snapshot.pooler import PoolerState
from exporter.sources import pgbouncer_rows as rows

CAPTURES = Path(__file__).parents[1] / "data" / "pgbouncer"
VERSIONS = ("1.18.0", "1.24.1", "1.26.1")


def captured(version, command, columns=None):
    """The rows of SHOW `command`, as the wire has them; 50 clients of pgbench on a pool of 5."""
    found = json.loads((CAPTURES / f"{version}.json").read_text())[command]
    return [
        {
            name: None if value is None else str(value).encode()
            for name, value in zip(found["columns"], row, strict=True)
            if columns is None or name in columns
        }
        for row in found.get("rows", ())
    ]


def captured_snapshot(version, taken_at=1000.0):
    """All of it as a snapshot."""

    def records(command, columns=None):
        known = "error" not in json.loads((CAPTURES / f"{version}.json").read_text())[command]
        return captured(version, command, columns) if known else []

    return PoolerSnapshot(
        taken_at,
        0.001,
        rows.facts(version, records("CONFIG"), records("USERS"), local=False),
        rows.values(Pool, records("POOLS")),
        rows.values(PoolDatabase, records("DATABASES")),
        rows.lists(records("LISTS")),
        rows.values(PoolStats, records("STATS")),
        rows.state(records("STATE")),
        rows.clients(records("CLIENTS")),
    )


def pool(database="shop", user="app", sv_active=0, cl_waiting=0, wait=0.0, **changes):
    values = {
        "pool_mode": "transaction",
        "cl_active": sv_active,
        "sv_idle": 0,
        "sv_used": 0,
        "maxwait": int(wait),
        "maxwait_us": round(wait % 1 * 1e6),
    }
    return Pool(database, user, sv_active=sv_active, cl_waiting=cl_waiting, **values | changes)


def database(name="shop", pool_size=20, reserve=5, **changes):
    values: dict[str, Any] = {"host": "10.0.0.5", "port": 5432, "paused": 0, "max_connections": 0}
    return PoolDatabase(name, pool_size=pool_size, reserve_pool_size=reserve, **values | changes)


def pooled(*pools, databases=None, taken_at=1000.0, facts=None, **changes):
    """A snapshot with `pools`, and a database for each that is not given."""
    names = dict.fromkeys(each.database for each in pools)
    made = tuple(database(name) for name in names) if databases is None else databases
    known = PoolerFacts("1.24.1", max_client_conn=100) if facts is None else facts
    return PoolerSnapshot(taken_at, 0.001, known, all_pools=pools, all_databases=made, **changes)


def waiting(application, clients, database="shop", user="app"):
    return ClientGroup(database, user, application, "waiting", clients)


def pooler_state(*pools, server="prod", pooler="pgb-1", **changes):
    shot = pooled(*pools)
    return PoolerState(server, pooler, **{"snapshot": shot} | changes)
