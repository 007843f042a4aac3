"""Fixtures for every test: real servers and poolers, stopped by pid when they are done."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from exporter.demo import binaries as scratch
from exporter.demo.binaries import PostgresError, binaries
from exporter.demo.postgres import EmbeddedPostgres, Setting
from tests.support.binaries import MAJORS, installed, programs
from tests.support.debian import MissingError
from tests.support.parts import needing, program
from tests.support.pgbouncer import PgBouncer

# No test is timed: a busy machine is not a defect. CI draws the same examples each time.
settings.register_profile("untimed", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("untimed")

#: Copying a data directory for a new server takes 0.04 s of CPU time in memory, and 0.2 s on a
#: disk. A container may have little.
_MEMORY, _LEAST = Path("/dev/shm"), 4 * 2**30  # noqa: S108  the same folder for all, as /tmp is
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _LEAST:
    scratch.SCRATCH = _MEMORY

StartPostgres = Callable[..., EmbeddedPostgres]
StartPgBouncer = Callable[..., PgBouncer]


def pytest_report_header() -> str:
    versions = []
    for major in MAJORS:
        with contextlib.suppress(PostgresError, OSError):
            command = [str((installed(major) or binaries(major)) / "postgres"), "--version"]
            versions.append(subprocess.check_output(command, text=True).split()[-1])
    return f"postgres: {', '.join(versions) or 'none'}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`postgres` runs a test on every major version, or on those that its mark `pg(16)` names."""
    if "postgres" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("pg")
        majors = mark.args if mark else MAJORS
        metafunc.parametrize("postgres", majors, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no worker is left alone with it at the end."""
    items.sort(key=_seconds, reverse=True)


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("slow")
    return float(mark.args[0]) if mark else 0.0


def _start(major: int, hba: Sequence[str] | None = None, **settings: Setting) -> EmbeddedPostgres:
    """A started server."""
    with needing(PostgresError):
        server = EmbeddedPostgres(major, settings, hba, programs(major))
    return server.start()


@pytest.fixture(scope="session")
def promtool_path() -> str:
    """Prometheus' own judge of rule files."""
    return program("promtool", "prometheus")


@pytest.fixture(scope="session")
def shared_postgres() -> Iterator[Callable[[int], EmbeddedPostgres]]:
    """Gives the one server of a major version that tests share; it is started when first asked."""
    servers: dict[int, EmbeddedPostgres] = {}

    def shared(major: int) -> EmbeddedPostgres:
        if major not in servers:
            servers[major] = _start(major, max_connections=100)
        return servers[major]

    yield shared
    for server in servers.values():
        server.remove()


@pytest.fixture(scope="session")
def postgres16(shared_postgres: Callable[[int], EmbeddedPostgres]) -> EmbeddedPostgres:
    return shared_postgres(16)


@pytest.fixture(scope="session")
def postgres(
    request: pytest.FixtureRequest, shared_postgres: Callable[[int], EmbeddedPostgres]
) -> EmbeddedPostgres:
    """A shared server of each major version; leave it as you found it."""
    return shared_postgres(request.param)


@contextlib.contextmanager
def _starting() -> Iterator[StartPostgres]:
    servers: list[EmbeddedPostgres] = []

    def start(
        major: int, hba: Sequence[str] | None = None, **settings: Setting
    ) -> EmbeddedPostgres:
        servers.append(_start(major, hba, **settings))
        return servers[-1]

    yield start
    for server in servers:
        server.remove()


@pytest.fixture
def start_postgres() -> Iterator[StartPostgres]:
    """Starts a server of one's own: `start_postgres(16, hba=[...], max_connections=20)`."""
    with _starting() as start:
        yield start


@pytest.fixture(scope="module")
def start_shared() -> Iterator[StartPostgres]:
    """The same for all tests of a module."""
    with _starting() as start:
        yield start


@pytest.fixture
def start_pgbouncer() -> Iterator[StartPgBouncer]:
    """Starts a pooler: `start_pgbouncer("sid", {"shop": leads_to(server)}, {"so_reuseport": 1})`.

    Its package is fetched once.
    """
    poolers: list[PgBouncer] = []

    def start(
        suite: str,
        databases: Mapping[str, str],
        settings: Mapping[str, Setting] | None = None,
        users: Mapping[str, str] | None = None,
    ) -> PgBouncer:
        with needing(MissingError):
            poolers.append(PgBouncer(suite, databases, settings, users))
        return poolers[-1].start()

    yield start
    for pooler in poolers:
        pooler.remove()
