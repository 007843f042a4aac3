"""What tests do to a real Postgres: fill it, freeze it, leave a login half done."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg

from exporter.demo.postgres import EmbeddedPostgres

MAJORS = (16, 18)
PROTOCOL_3 = 196608

T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float = 10.0) -> T:
    """The first true value of `look`, or the last one when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not (seen := look()) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    return seen


@contextlib.contextmanager
def sessions(
    server: EmbeddedPostgres,
    number: int,
    *,
    user: str = "postgres",
    dbname: str = "postgres",
    **params: str,
) -> Iterator[list[psycopg.Connection]]:
    """`number` idle client backends, gone from the server's view when the block ends."""
    dsn = server.dsn(user=user, dbname=dbname, **params)
    held: list[psycopg.Connection] = []
    try:
        for _ in range(number):
            held.append(psycopg.connect(dsn, autocommit=True))  # noqa: PERF401  those made so far are closed
        yield held
    finally:
        pids = [connection.info.backend_pid for connection in held if not connection.closed]
        for connection in held:
            connection.close()
        eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@contextlib.contextmanager
def half_authenticated(
    server: EmbeddedPostgres, number: int, *, user: str, replication: bool = False
) -> Iterator[list[socket.socket]]:
    """Logins that sent a startup packet and stop at the server's question for the password."""
    parameters = {"user": user, "database": "postgres"} | (
        {"replication": "true"} if replication else {}
    )
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
    packet = struct.pack("!ii", len(body) + 8, PROTOCOL_3) + body
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(number):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            line.sendall(packet)
            assert line.recv(1) == b"R", "the server did not ask for authentication"
            held.append(line)
        yield held


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """SIGSTOP for the processes; they go on when the block ends."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def frozen_server(server: EmbeddedPostgres) -> Iterator[None]:
    """SIGSTOP for the postmaster and everything that it started."""
    with frozen(server.pid, *children(server.pid)):
        yield
