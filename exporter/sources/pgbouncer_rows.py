"""From rows of PgBouncer's console to values, by the names of their columns; pure.

A column that this version has not, a NULL and a text that is no number all become None.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeVar

from exporter.snapshot.attribution import PoolSocket
from exporter.snapshot.pool import (
    ClientGroup,
    Pool,
    PoolDatabase,
    PoolerFacts,
    PoolStats,
    PoolUser,
)
from exporter.sources.rows import text
from exporter.sources.session import Record

Value = TypeVar("Value", Pool, PoolDatabase, PoolSocket, PoolStats)

#: Names that a column had before.
_FORMER = {"reserve_pool_size": "reserve_pool"}
_TRUE = frozenset({b"1", b"yes", b"t", b"true", b"on"})
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
#: Before 1.26 a user without a pool_size shows that of the user above it
#: (https://github.com/pgbouncer/pgbouncer/issues/1323).
_VERSION_WITH_STALE_SIZES = re.compile(r"1\.(?:\d|1\d|2[0-5])(?:\D|$)")
CLIENT_COLUMNS = frozenset({"database", "user", "application_name", "state"})
#: What doctor looks at; addresses of files and of users stay where they are.
CONFIG_NAMES = (
    "default_pool_size",
    "listen_addr",
    "max_prepared_statements",
    "pool_mode",
    "query_wait_timeout",
    "reserve_pool_size",
    "server_idle_timeout",
    "server_tls_sslmode",
    "client_tls_sslmode",
)
USER_COLUMNS = frozenset(field.name for field in fields(PoolUser))


def number(raw: bytes | None) -> int | None:
    """A whole number; None for what is none.

    >>> number(b"17"), number(b"17.9"), number(b"   2"), number(b""), number(None)
    (17, 17, 2, None, None)
    """
    stripped = b"" if raw is None else raw.strip()
    return int(float(stripped)) if _NUMBER.fullmatch(stripped) else None


def columns(value: type[Value]) -> frozenset[str]:
    """The columns that `value` is made from, under all the names that they have had."""
    names = frozenset(field.name for field in fields(value))
    return names | {_FORMER[name] for name in names if name in _FORMER}


def values(value: type[Value], records: Iterable[Record]) -> tuple[Value, ...]:
    """Rows as `value`s."""
    return tuple(value(**_arguments(value, record)) for record in records)


def _arguments(value: type[Value], record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(value):
        raw = record.get(field.name, record.get(_FORMER.get(field.name, "")))
        # Annotations are texts here: a field is a text or a number that may be missing.
        found[field.name] = text(raw) if field.type == "str" else number(raw)
    return found


def lists(records: Iterable[Record]) -> dict[str, int]:
    """SHOW LISTS: how many there are of each."""
    pairs = ((text(each.get("list")), number(each.get("items"))) for each in records)
    return {name: items for name, items in pairs if items is not None}


def state(records: Iterable[Record]) -> dict[str, bool]:
    """SHOW STATE: `active`, `paused` and, until 1.25, `suspended`."""
    return {text(each.get("key")): each.get("value") in _TRUE for each in records}


def clients(records: Iterable[Record]) -> tuple[ClientGroup, ...]:
    """SHOW CLIENTS, counted."""
    counts = Counter(
        (
            text(each.get("database")),
            text(each.get("user")),
            text(each.get("application_name")),
            text(each.get("state")),
        )
        for each in records
    )
    return tuple(ClientGroup(*key, count) for key, count in counts.items())


def facts(
    version: str, config: Iterable[Record], users: Iterable[Record], *, local: bool
) -> PoolerFacts:
    """SHOW CONFIG and SHOW USERS; `local` is whether the session is a unix socket."""
    settings = {text(each.get("key")): each.get("value") for each in config}
    connections = number(settings.get("max_user_connections"))
    clients = number(settings.get("max_user_client_connections"))
    usual = (None, None, connections, clients)
    known = _users(users, believed=not _VERSION_WITH_STALE_SIZES.match(version))
    return PoolerFacts(
        version=version,
        max_client_conn=number(settings.get("max_client_conn")),
        max_user_connections=connections,
        max_user_client_connections=clients,
        so_reuseport=settings.get("so_reuseport") in _TRUE,
        local=local,
        settings={name: text(settings[name]) for name in CONFIG_NAMES if name in settings},
        # Only those with limits of their own: an auth_query may know ten thousand.
        users={user.name: user for user in known if user.limits not in (usual, (None,) * 4)},
    )


def _users(records: Iterable[Record], *, believed: bool) -> Iterator[PoolUser]:
    """Users with their limits; sizes that repeat those of the row above only if `believed`."""
    above: tuple[int | None, int | None] = (None, None)
    for record in records:
        sizes = number(record.get("pool_size")), number(record.get("reserve_pool_size"))
        own = sizes if believed or sizes != above else (None, None)
        above = sizes
        yield PoolUser(
            text(record.get("name")),
            *own,
            number(record.get("max_user_connections")),
            number(record.get("max_user_client_connections")),
        )
