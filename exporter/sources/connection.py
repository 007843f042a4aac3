"""Connections as this package makes them, and how one is ended from below."""

from __future__ import annotations

import contextlib
import math
import os
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from exporter.snapshot.server import Failure, Reason
from exporter.sources.errors import SourceError
from exporter.sources.names import with_addresses
from exporter.sources.trust import trust_the_system

Row = tuple[Any, ...]
Connection = AsyncConnection[Row]

#: psycopg takes no less for connect_timeout
#: (https://www.postgresql.org/docs/current/libpq-connect.html).
_SHORTEST_CONNECT_TIMEOUT = 2
#: psycopg's default; statements that ask for it are prepared at once.
_PREPARE_THRESHOLD = 5
_UNPARSED = Failure(Reason.ERROR, "the DSN cannot be parsed", "run pgheadroom config check")
#: struct ucred: pid, uid, gid (https://man7.org/linux/man-pages/man7/unix.7.html).
_CREDENTIALS = struct.Struct("3i")

# Before there are threads: whoever reads a variable while another is set may read anything
# (https://man7.org/linux/man-pages/man3/setenv.3.html, "MT-Unsafe const:env").
trust_the_system()


async def connect(
    params: Mapping[str, str], deadline: float, *, prepared: bool = True
) -> Connection:
    """A connection in autocommit: inside a transaction the statistics are frozen.

    `deadline` (seconds) is divided among the addresses for libpq's own connect_timeout, where the
    DSN sets none. It does not bound this call; the caller does.

    Raises:
        SourceError: the parameters cannot be parsed.
        psycopg.Error: nobody let us in.
    """
    params = await with_addresses(params)
    hosts = max(1, len(params.get("host", "").split(",")))
    seconds = max(_SHORTEST_CONNECT_TIMEOUT, math.ceil(deadline / hosts))
    bounded: dict[str, str | int] = {"connect_timeout": seconds, **params}
    try:
        return await AsyncConnection.connect(
            make_conninfo("", **bounded),
            autocommit=True,
            prepare_threshold=_PREPARE_THRESHOLD if prepared else None,
        )
    except psycopg.ProgrammingError:
        # Not what libpq says: it quotes what it cannot parse, which may be a piece of a password.
        raise SourceError(_UNPARSED) from None


def shut_socket(connection: Connection) -> None:
    """End a connection from below; whatever waits for it fails at once.

    On a duplicate of the descriptor, so that libpq's own stays open until it closes it.
    """
    with contextlib.suppress(OSError, psycopg.Error):
        duplicate = os.dup(connection.pgconn.socket)
        with socket.socket(fileno=duplicate) as line:
            line.shutdown(socket.SHUT_RDWR)


def peer_descriptors(connection: Connection) -> int | None:
    """How many file descriptors the process at the other end of a unix socket may have.

    None over TCP, and where the process cannot be seen from here.
    """
    try:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
            if line.family != socket.AF_UNIX:
                return None
            said = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        limits = Path(f"/proc/{_CREDENTIALS.unpack(said)[0]}/limits").read_text(encoding="ascii")
    except (OSError, psycopg.Error):
        return None
    found = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
    return int(found[1]) if found else None
