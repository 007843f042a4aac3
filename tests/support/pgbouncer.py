"""A throw-away PgBouncer of any Debian suite, in front of a Postgres of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import psycopg
from pydantic import SecretStr

from exporter.config.pooler import Pooler
from exporter.config.server import Polling
from exporter.demo.binaries import environment, identity, user_directory
from exporter.demo.postgres import EmbeddedPostgres, Setting, free_port
from exporter.snapshot.pool import PoolerSnapshot
from exporter.snapshot.server import Failure
from exporter.sources.errors import SourceError
from exporter.sources.pgbouncer import PgbouncerSource
from tests.support.debian import command, unpacked
from tests.support.postgres import eventually

#: 1.18, 1.24 and whatever is newest (1.26 when this was written).
SUITES = ("bookworm", "trixie", "sid")
NOW = 1_800_000_000.0


class PgBouncer:
    """One process in a fresh temporary directory; a context manager that starts and stops it.

    Args:
        suite: whose package it is from.
        databases: lines of `[databases]` by name.
        settings: of `[pgbouncer]`, over defaults that trust everybody.
        users: lines of `[users]` by name.
    """

    def __init__(
        self,
        suite: str,
        databases: Mapping[str, str],
        settings: Mapping[str, Setting] | None = None,
        users: Mapping[str, str] | None = None,
    ) -> None:
        self._program = command(unpacked(suite, "pgbouncer"), "usr/sbin/pgbouncer")
        self._sections = {"databases": databases, "users": users or {}}
        self._settings = dict(settings or {})
        self.home = user_directory()
        self.port = int(self._settings.get("listen_port", 0)) or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and wait until the console answers."""
        file = self.home / "pgbouncer.ini"
        file.write_text(self._ini())
        log = (self.home / "log").open("wb")
        self._process = subprocess.Popen(
            [*self._program, str(file)], cwd=self.home, stdout=log, stderr=log,
            env=environment(), **identity(),
        )  # fmt: skip
        log.close()
        assert eventually(self._answers), self.log()
        return self

    def stop(self) -> None:
        """Stop at once; the directory stays until `remove`."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start again, on the same port."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it wrote."""
        return (self.home / "log").read_text(errors="replace")

    def dsn(
        self, dbname: str = "pgbouncer", user: str = "stats", *, unix: bool = False, **more: str
    ) -> str:
        """Where a database of it is; the console's by default."""
        host = str(self.home) if unix else "127.0.0.1"
        rest = "".join(f" {key}={value}" for key, value in more.items())
        return f"host={host} port={self.port} user={user} dbname={dbname}{rest}"

    def console(self, *commands: str, user: str = "admin") -> list[list[tuple[object, ...]]]:
        """The rows of each command."""
        with psycopg.connect(
            self.dsn(user=user), autocommit=True, prepare_threshold=None, connect_timeout=5
        ) as console:
            found = []
            for each in commands:
                cursor = console.execute(each.encode())
                found.append(cursor.fetchall() if cursor.description else [])
            return found

    @contextlib.contextmanager
    def clients(
        self, number: int, dbname: str = "app", user: str = "postgres", application: str = ""
    ) -> Iterator[list[psycopg.Connection]]:
        """`number` clients that do nothing; a pool in session mode gives each a connection."""
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(
                    psycopg.connect(
                        self.dsn(dbname, user, application_name=application or "test"),
                        autocommit=True,
                        prepare_threshold=None,
                    )
                )
                for _ in range(number)
            ]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self.log())
        try:
            self.console("SHOW VERSION")
        except psycopg.OperationalError:
            return False
        return True

    def _ini(self) -> str:
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": str(self.home),
            "auth_type": "any" if self._settings.get("auth_type") == "any" else "trust",
            "auth_file": str(self.home / "users.txt"),
            "admin_users": "admin",
            "stats_users": "stats",
            "pool_mode": "transaction",
            "server_idle_timeout": 60,
            **self._settings,
        }
        names = ("admin", "stats", "nobody", "postgres", "app", "other")
        (self.home / "users.txt").write_text("".join(f'"{name}" ""\n' for name in names))
        parts = [*self._sections.items(), ("pgbouncer", settings)]
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
            for name, lines in parts
        )


def looped(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test, run to its end on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def leads_to(server: EmbeddedPostgres, **more: Setting) -> str:
    """A line of `[databases]` to `server`."""
    rest = "".join(f" {key}={value}" for key, value in more.items())
    return f"host=127.0.0.1 port={server.port} dbname=postgres{rest}"


@contextlib.contextmanager
def queued(pooler: PgBouncer, number: int, **options: Any) -> Iterator[None]:
    """`number` clients that ask a pool for something, and wait if it has no free connection."""
    with pooler.clients(number, **options) as clients:
        threads = [
            threading.Thread(target=_quietly, args=(client,), daemon=True) for client in clients
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for client in clients:
                with (
                    contextlib.suppress(OSError, psycopg.Error),
                    socket.socket(fileno=os.dup(client.fileno())) as line,
                ):
                    line.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(5)


def _quietly(client: psycopg.Connection) -> None:
    with contextlib.suppress(psycopg.Error):
        client.execute("select 1")


@contextlib.asynccontextmanager
async def console(
    dsn: str, polling: Polling | None = None, **options: Any
) -> AsyncIterator[PgbouncerSource]:
    """A source for the console at `dsn`, closed when the block ends."""
    pooler = Pooler.model_validate({"name": "pgb", "dsn": SecretStr(dsn), **options})
    source = PgbouncerSource(pooler, polling or Polling())
    try:
        yield source
    finally:
        await source.close()


async def seen(dsn: str, **options: Any) -> PoolerSnapshot:
    """One snapshot."""
    async with console(dsn, **options) as source:
        return await source.poll(NOW)


async def refusal(dsn: str, **options: Any) -> Failure:
    """Why a poll fails; an assertion error when it does not."""
    try:
        await seen(dsn, **options)
    except SourceError as error:
        return error.failure
    raise AssertionError("the poll succeeded")
