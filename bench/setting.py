"""The stage of the bench: a server, its crowd, and the programs that watch it."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import yaml

from bench.crowd import DATABASES, ROLES
from exporter.demo.postgres import EmbeddedPostgres
from exporter.demo.watcher import child_environment, end, free_address

_START_SECONDS, _CROWD_SECONDS = 30.0, 60.0
Session = psycopg.Connection[tuple[object, ...]]


class BenchError(Exception):
    """The stage could not be set."""


@dataclass(frozen=True, slots=True)
class State:
    """How full the server is: `slots` for each backend; polls then come every `interval` s."""

    words: str
    slots: float
    interval: float


#: pgheadroom polls every 2 s, and every second from 40 % of the usable slots on.
CALM = State("33 % used", 3.0, 2.0)
BUSY = State("91 % used", 1.1, 1.0)


@dataclass(frozen=True, slots=True)
class Program:
    """A watcher under measurement: its process and where it serves its metrics."""

    pid: int
    listen: str

    def line(self) -> http.client.HTTPConnection:
        """A connection to its web server, to be kept."""
        host, _, port = self.listen.partition(":")
        return http.client.HTTPConnection(host, int(port), timeout=10)


def scrape(line: http.client.HTTPConnection, path: str = "/metrics") -> tuple[float, int]:
    """One scrape: milliseconds as its reader sees them, and bytes."""
    started = time.perf_counter()
    line.request("GET", path)
    answer = line.getresponse()
    body = answer.read()
    elapsed = (time.perf_counter() - started) * 1000
    if answer.status != http.client.OK:
        raise BenchError(f"{path} answered {answer.status}")
    return elapsed, len(body)


@contextlib.contextmanager
def server(major: int, slots: int) -> Iterator[EmbeddedPostgres]:
    """Postgres with `slots`, nothing of its own going on."""
    settings = {"max_connections": slots, "autovacuum": False}
    # Clients come from many addresses of loopback.
    hba = ("host all all 127.0.0.0/8 trust",)
    with EmbeddedPostgres(major, settings, hba) as postgres:
        roles = "".join(f"create role {role} login;" for role in ROLES)
        watchers = "".join(
            f"create role {role} login; grant pg_monitor to {role};"
            for role in ("pgheadroom", "peer")
        )
        databases = "".join(f"create database {name};" for name in DATABASES)
        postgres.psql(roles + watchers + databases)
        yield postgres


@contextlib.contextmanager
def crowd(postgres: EmbeddedPostgres, backends: int, mix: str) -> Iterator[None]:
    """`backends` clients of `bench/crowd.py`, gone from the server when the block ends."""
    script = Path(__file__).with_name("crowd.py")
    command = [sys.executable, str(script), str(postgres.port), str(backends), mix]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            said = process.stdout.readline() if process.stdout else b""
            if said.strip() != b"ready":
                raise BenchError(f"the clients could not connect:\n{postgres.log_tail()}")
            yield
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(_CROWD_SECONDS)
    _wait_until_gone(postgres)


def _wait_until_gone(postgres: EmbeddedPostgres) -> None:
    """Until the last backend has left; those that sleep or wait are ended."""
    roles = ", ".join(f"'{role}'" for role in ROLES)
    gone = (
        f"select count(pg_terminate_backend(pid)) from pg_stat_activity where usename in ({roles})"
    )
    until = time.monotonic() + _CROWD_SECONDS
    while postgres.psql(gone) != "0":
        if time.monotonic() > until:
            raise BenchError("the clients' backends did not leave")
        time.sleep(0.2)


@contextlib.contextmanager
def pgheadroom(postgres: EmbeddedPostgres) -> Iterator[Program]:
    """The installed command as it comes."""
    with watcher([{"name": "bench", "dsn": postgres.dsn("pgheadroom")}]) as program:
        yield program


@contextlib.contextmanager
def watcher(servers: Sequence[Mapping[str, object]], **polling: float) -> Iterator[Program]:
    """The installed command over `servers`."""
    listen = free_address()
    with tempfile.TemporaryDirectory(prefix="pgheadroom-bench-") as name:
        folder = Path(name)
        document = {
            "listen": listen,
            "state_dir": str(folder / "state"),
            "servers": [dict(each) for each in servers],
            "polling": polling,
        }
        path = folder / "pgheadroom.yaml"
        path.write_text(yaml.safe_dump(document), "utf-8")
        command = [str(Path(sys.executable).with_name("pgheadroom")), "run", "--config", str(path)]
        with _program(command, listen, folder / "log", {}) as program:
            yield program


@contextlib.contextmanager
def postgres_exporter(binary: Path, postgres: EmbeddedPostgres) -> Iterator[Program]:
    """The peer with its defaults."""
    listen = free_address()
    dsn = {"DATA_SOURCE_NAME": postgres.dsn("peer", sslmode="disable")}
    with tempfile.TemporaryDirectory(prefix="pgheadroom-bench-") as name:
        command = [str(binary), f"--web.listen-address={listen}"]
        with _program(command, listen, Path(name) / "log", dsn) as program:
            yield program


@contextlib.contextmanager
def _program(
    command: Sequence[str], listen: str, log: Path, variables: Mapping[str, str]
) -> Iterator[Program]:
    """`command` until the block ends, from when it answers scrapes."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=child_environment({"PATH": "/usr/bin:/bin"}) | dict(variables),
        )
    try:
        program = Program(process.pid, listen)
        until = time.monotonic() + _START_SECONDS
        while not _answers(program):
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError(
                    f"{command[0]} did not start:\n{log.read_text('utf-8', 'replace')}"
                )
            time.sleep(0.1)
        yield program
    finally:
        end(process)


def _answers(program: Program) -> bool:
    line = program.line()
    try:
        scrape(line)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()
    return True


def kept_backend(session: Session, role: str = "pgheadroom") -> int:
    """The process of the role's oldest session.

    Raises:
        BenchError: it has none after 30 s.
    """
    until = time.monotonic() + _START_SECONDS
    sql = "select pid from pg_stat_activity where usename = %s order by backend_start limit 1"
    while True:
        row = session.execute(sql, (role,)).fetchone()
        if row is not None:
            return int(str(row[0]))
        if time.monotonic() > until:
            raise BenchError(f"{role} has no session")
        time.sleep(0.2)
