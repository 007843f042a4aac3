"""Every way in which a real server refuses a login or ends a session, on every major version."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.server import Failure, Probe, Reason
from exporter.sources.probe import probe
from tests.conftest import StartPostgres
from tests.support.binaries import MAJORS
from tests.support.postgres import (
    eventually,
    failure,
    left,
    poll,
    poll_until,
    reading,
    sessions,
    watchers,
)

HBA = (
    "host all rejected 127.0.0.1/32 reject",
    "host all secret 127.0.0.1/32 scram-sha-256",
    "host all unlisted 127.0.0.2/32 trust",
    "host all postgres,app,limited,asleep,ghost,pgheadroom 127.0.0.1/32 trust",
)
SQL = """
create role app login; create role limited login connection limit 0; create role asleep;
create role secret login password 'right'; create role rejected login;
create role unlisted login; create database limited connection limit 0;
create database closed allow_connections false; create database private;
revoke connect on database private from public;
create role pgheadroom login; grant pg_read_all_stats to pgheadroom;
"""


@pytest.fixture(scope="module")
def servers(start_shared: StartPostgres) -> Callable[[int], EmbeddedPostgres]:
    """A small server of each version, started when first asked for."""
    started: dict[int, EmbeddedPostgres] = {}

    def server(major: int) -> EmbeddedPostgres:
        if major not in started:
            small = {"max_connections": 10, "superuser_reserved_connections": 3}
            if major >= 16:
                small["reserved_connections"] = 2
            started[major] = start_shared(major, hba=HBA, autovacuum=False, **small)
            started[major].psql(SQL)
        return started[major]

    return server


@pytest.fixture(params=MAJORS)
def server(
    request: pytest.FixtureRequest, servers: Callable[[int], EmbeddedPostgres]
) -> EmbeddedPostgres:
    return servers(request.param)


def tried(dsn: str, used_ratio: float | None = None) -> Probe:
    return asyncio.run(
        probe(Credentials(dsn=SecretStr(dsn)), "direct", 10.0, 5.0, used_ratio=used_ratio)
    )


def test_each_refusal_has_its_reason(server: EmbeddedPostgres) -> None:
    cases = (
        (server.dsn("limited"), Reason.ROLE_LIMIT, 'too many connections for role "limited"'),
        (
            server.dsn("app", dbname="limited"),
            Reason.DATABASE_LIMIT,
            'too many connections for database "limited"',
        ),
        (server.dsn("asleep"), Reason.AUTH, 'role "asleep" is not permitted to log in'),
        (server.dsn("ghost"), Reason.AUTH, 'role "ghost" does not exist'),
        (server.dsn("rejected"), Reason.AUTH, "pg_hba.conf rejects connection for host"),
        (server.dsn("unlisted"), Reason.AUTH, "no pg_hba.conf entry for host"),
        (
            server.dsn("secret", password="wrong"),
            Reason.AUTH,
            'password authentication failed for user "secret"',
        ),
        (server.dsn("secret"), Reason.AUTH, "no password supplied"),
        (server.dsn("app", dbname="nowhere"), Reason.ERROR, 'database "nowhere" does not exist'),
        (
            server.dsn("app", dbname="closed"),
            Reason.ERROR,
            'database "closed" is not currently accepting connections',
        ),
        (
            server.dsn("app", dbname="private"),
            Reason.AUTH,
            'permission denied for database "private"',
        ),
    )
    for dsn, reason, message in cases:
        # However full it was: these are no want of a slot.
        seen = tried(dsn, used_ratio=1.0)
        assert seen.reason is reason, seen
        assert message in seen.message


def test_a_want_of_slots_is_refused_and_nothing_else_is(server: EmbeddedPostgres) -> None:
    plain = 10 - 3 - (2 if server.major >= 16 else 0)
    with sessions(server, plain, user="app"):
        reserved = tried(server.dsn("app"))
        assert reserved.reason is Reason.REFUSED
        assert reserved.message.startswith("remaining connection slots are reserved for ")
        with sessions(server, 10 - plain):
            # Before the password is asked for: whoever it is, there is no slot.
            for dsn in (server.dsn(), server.dsn("ghost"), server.dsn("app", dbname="nowhere")):
                full = tried(dsn)
                assert full.reason is Reason.REFUSED
                assert full.message == "sorry, too many clients already"
    assert tried(server.dsn("app")).reason is None


def ended(server: EmbeddedPostgres, by: Callable[[int], None]) -> Failure:
    """Why the poll fails whose session was ended by `by`, given its pid; the next one succeeds."""
    seen: list[Failure] = []

    async def run() -> None:
        async with reading(server, "pgheadroom") as source:
            await poll(source)
            (pid,) = watchers(server)
            by(pid)
            seen.append(await failure(source))
            await poll_until(source)
            assert left(server) == 1

    asyncio.run(run())
    return seen[0]


def test_an_administrator_ends_the_session(server: EmbeddedPostgres) -> None:
    failed = ended(server, lambda pid: _terminate(server, pid))
    assert failed.reason is Reason.STARTING
    assert failed.message == "terminating connection due to administrator command"


def _terminate(server: EmbeddedPostgres, pid: int) -> None:
    server.psql(f"select pg_terminate_backend({pid})")
    assert eventually(lambda: pid not in watchers(server))


def test_the_server_is_restarted(server: EmbeddedPostgres) -> None:
    assert ended(server, lambda _: server.restart("fast")).reason is Reason.STARTING
    assert ended(server, lambda _: server.restart("immediate")).reason is Reason.NETWORK


def test_a_backend_is_killed_and_everybody_with_it(server: EmbeddedPostgres) -> None:
    def crash(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)

    assert ended(server, crash).reason in {Reason.NETWORK, Reason.STARTING}


@contextlib.contextmanager
def shutting_down(server: EmbeddedPostgres) -> Iterator[None]:
    """A smart shutdown waits for the sessions that there are, and lets no new one in."""
    os.kill(server.pid, signal.SIGTERM)
    try:
        yield
    finally:
        server.restart()


def test_a_smart_shutdown_leaves_the_session_and_lets_nobody_in(server: EmbeddedPostgres) -> None:
    def turned_away() -> bool:
        return tried(server.dsn("app")).reason is Reason.STARTING

    async def run() -> None:
        async with reading(server, "pgheadroom") as source:
            await poll(source)
            with shutting_down(server):
                assert await asyncio.to_thread(eventually, turned_away)
                await poll(source)
                seen = await source.probe(5.0)
                assert seen.message == "the database system is shutting down"

    asyncio.run(run())


def test_a_cancelled_statement_leaves_the_session(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(server, "pgheadroom") as source:
            await poll(source)
            (pid,) = watchers(server)
            waiting = asyncio.create_task(
                source._session.fetch(b"select pg_sleep(30)", until=source._clock() + 30)
            )
            busy = f"select 1 from pg_stat_activity where pid = {pid} and wait_event = 'PgSleep'"
            assert await asyncio.to_thread(eventually, lambda: server.psql(busy))
            server.psql(f"select pg_cancel_backend({pid})")
            with pytest.raises(Exception, match="canceling statement due to user request"):
                await waiting
            await poll(source)
            assert watchers(server) == [pid]

    asyncio.run(run())
