"""What tests do to a real Postgres: fill it, freeze it, leave a login half done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psycopg
from pydantic import SecretStr

from exporter.config.server import Polling, Server
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from exporter.snapshot.activity import BackendGroup
from exporter.snapshot.server import Failure, Snapshot
from exporter.sources.errors import SourceError
from exporter.sources.postgres import PostgresSource

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
def running(connection: psycopg.Connection, sql: str) -> Iterator[None]:
    """`sql` under way on `connection`; cancelled when the block ends."""

    def run() -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute(sql)

    worker = threading.Thread(target=run)
    worker.start()
    try:
        yield
    finally:
        while worker.is_alive():
            connection.cancel_safe(timeout=5)
            worker.join(0.05)


@contextlib.contextmanager
def half_authenticated(
    server: EmbeddedPostgres, number: int, *, user: str, replication: bool = False
) -> Iterator[list[socket.socket]]:
    """Logins that sent a startup packet and stop at the server's question for the password."""
    packet = startup_packet(user.encode(), replication=replication)
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(number):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            line.sendall(packet)
            assert line.recv(1) == b"R", "the server did not ask for authentication"
            held.append(line)
        yield held


@contextlib.contextmanager
def trusted_login(server: EmbeddedPostgres, user: bytes) -> Iterator[socket.socket]:
    """A session of a role whose name is in no encoding that a client library would send."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as line:
        line.sendall(startup_packet(user))
        answer = b""
        while b"Z\0\0\0\5I" not in answer:
            answer += line.recv(4096)
            assert not answer.startswith(b"E"), answer
        yield line


def startup_packet(user: bytes, *, replication: bool = False) -> bytes:
    """https://www.postgresql.org/docs/current/protocol-message-formats.html, StartupMessage."""
    body = b"user\0" + user + b"\0database\0postgres\0"
    body += b"replication\0true\0" if replication else b""
    return struct.pack("!ii", len(body) + 9, PROTOCOL_3) + body + b"\0"


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


@contextlib.asynccontextmanager
async def reading(
    server: EmbeddedPostgres | str,
    user: str = "postgres",
    polling: Polling | None = None,
    clock: Callable[[], float] = time.monotonic,
    **options: object,
) -> AsyncIterator[PostgresSource]:
    """A source for `server` (or for a DSN), closed when the block ends."""
    dsn = server if isinstance(server, str) else server.dsn(user)
    configured = Server.model_validate({"name": "db", "dsn": SecretStr(dsn), **options})
    source = PostgresSource(configured, polling or Polling(), clock)
    try:
        yield source
    finally:
        await source.close()


async def poll(source: PostgresSource, used_ratio: float | None = None) -> Snapshot:
    return await source.poll(1_800_000_000.0, expected_used_ratio=used_ratio)


async def failure(source: PostgresSource, used_ratio: float | None = None) -> Failure:
    """Why a poll fails; an assertion error when it does not."""
    try:
        await poll(source, used_ratio)
    except SourceError as error:
        return error.failure
    raise AssertionError("the poll succeeded")


async def poll_until(
    source: PostgresSource, enough: Callable[[Snapshot], object] = bool, seconds: float = 15.0
) -> Snapshot:
    """The first snapshot that is `enough`; failed polls are polled over."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = snapshot = await poll(source)
            if enough(snapshot):
                return snapshot
        except SourceError as error:
            last = error
        await asyncio.sleep(0.01)
    raise AssertionError(f"not seen in {seconds} s; the last was {last}")


def groups(snapshot: Snapshot, **labels: object) -> list[BackendGroup]:
    """The groups that have all of `labels`."""
    return [
        group
        for group in snapshot.activity.groups
        if all(getattr(group, name) == value for name, value in labels.items())
    ]


def count(snapshot: Snapshot, **labels: object) -> int:
    """How many backends have all of `labels`."""
    return sum(group.backends for group in groups(snapshot, **labels))


def watchers(server: EmbeddedPostgres, name: str = "pgheadroom") -> list[int]:
    """The pids of backends that call themselves `name`."""
    query = f"select pid from pg_stat_activity where application_name = '{name}' order by 1"
    return [int(pid) for pid in server.psql(query).split()]


def left(server: EmbeddedPostgres) -> int:
    """How many backends of ours there are once those that leave have left: one, or many that stay.

    A backend whose client is gone takes a moment, and a server that crashed lets nobody in at once.
    """

    def one() -> bool:
        with contextlib.suppress(PostgresError):
            return len(watchers(server)) == 1
        return False

    return 1 if eventually(one) else len(watchers(server))
