"""What happens to the kept session when servers freeze, fill, restart or refuse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from exporter.config.server import Polling
from exporter.demo.postgres import EmbeddedPostgres, free_port
from exporter.snapshot.server import Reason
from exporter.sources.connection import Connection
from exporter.sources.errors import SourceError
from exporter.sources.postgres import PostgresSource
from exporter.sources.reading import CLOSED
from tests.conftest import StartPostgres
from tests.support.postgres import (
    eventually,
    failure,
    frozen,
    frozen_server,
    left,
    poll,
    poll_until,
    reading,
    sessions,
    watchers,
)

QUICK = Polling(deadline=0.3, connect_deadline=0.5)


def test_a_late_poll_keeps_its_session(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)

    async def run() -> None:
        async with reading(server, polling=QUICK) as source:
            await poll_until(source)
            (pid,) = watchers(server)
            with frozen(pid):
                assert (await failure(source)).reason is Reason.LATE
                assert (await failure(source)).reason is Reason.LATE
            await poll_until(source)
            assert watchers(server) == [pid]

    asyncio.run(run())


def test_a_frozen_server_delays_nobody_else(start_postgres: StartPostgres) -> None:
    stuck, well = start_postgres(18), start_postgres(16)

    async def run() -> None:
        async with reading(stuck, polling=QUICK) as slow, reading(well) as quick:
            await poll_until(slow)
            await poll_until(quick)
            with frozen_server(stuck):
                late = asyncio.create_task(failure(slow))
                while not late.done():
                    await poll(quick)
                assert late.result().reason is Reason.LATE

    asyncio.run(run())


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_after_three_misses_and_ten_seconds_the_session_is_shut(
    start_postgres: StartPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_postgres(16)

    def fifty_times_faster() -> float:
        return time.monotonic() * 50

    async def run() -> None:
        async with reading(server, polling=QUICK, clock=fifty_times_faster) as source:
            await poll_until(source)
            (pid,) = watchers(server)
            with frozen_server(server):
                held = descriptors()
                for _ in range(2):
                    assert (await failure(source)).reason is Reason.LATE
                assert not [r for r in caplog.records if r.message == "session given up"]
                assert descriptors() == held
                assert (await failure(source)).reason is Reason.LATE
                assert [r for r in caplog.records if r.message == "session given up"]
                assert descriptors() < held, "the socket is still open"
                assert (await failure(source)).reason is Reason.LATE
            await poll_until(source)
            assert eventually(lambda: pid not in watchers(server))
            assert left(server) == 1

    asyncio.run(run())


def test_three_misses_within_ten_seconds_are_forgiven(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)

    async def run() -> None:
        async with reading(server, polling=QUICK) as source:
            await poll_until(source)
            (pid,) = watchers(server)
            with frozen(pid):
                for _ in range(4):
                    assert (await failure(source)).reason is Reason.LATE
            await poll_until(source)
            assert watchers(server) == [pid]

    asyncio.run(run())


def test_closing_does_not_wait_for_a_frozen_server(start_postgres: StartPostgres) -> None:
    server = start_postgres(18)

    async def run() -> None:
        async with reading(server, polling=QUICK) as source:
            await poll_until(source)
            with frozen_server(server):
                assert (await failure(source)).reason is Reason.LATE
                await asyncio.wait_for(source.close(), 5)

    asyncio.run(run())
    assert eventually(lambda: not watchers(server)) is True


@pytest.mark.pg(16)
def test_who_polls_while_a_session_is_closed_begins_nothing_more_on_it(
    postgres: EmbeddedPostgres,
) -> None:
    """libpq frees the connection, and a statement that still waits upon it ends the process."""

    async def run() -> None:
        async with reading(postgres) as source:
            await poll(source)
            session = source._session
            until = session._clock() + 30

            async def statements() -> None:
                for _ in range(2):
                    await session.fetch(b"select pg_sleep(0.1)", until=until)

            polling = asyncio.create_task(statements())
            for _ in range(1_000_000):
                # It has its rows, and who polls has not taken them up yet.
                if session._statement is not None and session._statement.done():
                    break
                await asyncio.sleep(0)
            await session.close()
            with pytest.raises(SourceError) as caught:
                await polling
            assert caught.value.failure is CLOSED

    asyncio.run(run())


@pytest.mark.pg(16)
def test_a_session_that_is_closed_during_a_login_has_no_connection(
    postgres: EmbeddedPostgres,
) -> None:
    async def run() -> None:
        async with reading(postgres) as source:
            session = source._session
            greet, greeted = session._greet, asyncio.Event()

            async def greeting(connection: Connection) -> None:
                greeted.set()
                await greet(connection)

            session._greet = greeting
            polling = asyncio.create_task(poll(source))
            await greeted.wait()
            await session.close()
            with pytest.raises(SourceError):
                await polling
            assert not session.is_open
            assert eventually(lambda: watchers(postgres) == [])

    asyncio.run(run())


def test_a_cancelled_poll_leaves_a_session_that_can_be_used(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(postgres) as source:
            for pause in (0.0, 0.001, 0.005):
                task = asyncio.create_task(poll(source))
                await asyncio.sleep(pause)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await poll_until(source)
            assert left(postgres) == 1

    asyncio.run(run())
    assert eventually(lambda: not watchers(postgres)) is True


def test_the_server_is_asked_to_give_up_before_the_deadline(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(postgres, polling=Polling(deadline=0.4)) as source:
            await poll(source)
            session, until = source._session, time.monotonic() + 0.4
            with pytest.raises(SourceError, match="statement timeout"):
                await session.fetch(b"select pg_sleep(30)", until=until + 5)
            expected = {
                b"show statement_timeout": b"300ms",
                b"show jit": b"off",
                b"show client_encoding": b"SQL_ASCII",
            }
            if postgres.major >= 14:
                expected[b"show idle_session_timeout"] = b"0"
            for sql, value in expected.items():
                assert await session.fetch(sql, until=time.monotonic() + 5) == [(value,)]
            await poll(source)

    asyncio.run(run())


def test_the_kept_session_sees_a_full_server_where_a_new_one_is_refused(
    start_postgres: StartPostgres,
) -> None:
    server = start_postgres(16, max_connections=10, superuser_reserved_connections=2)
    server.psql("create role app login; grant pg_read_all_stats to app")

    async def run() -> None:
        async with reading(server, "app") as kept, reading(server, "app") as late:
            await poll(kept)
            with sessions(server, 7, user="app"):
                snapshot = await poll(kept)
                assert (snapshot.used, snapshot.facts.limits.usable) == (8, 8)
                refused = await failure(late)
                assert refused.reason is Reason.REFUSED
                assert refused.message.startswith("remaining connection slots are reserved")
                with sessions(server, 2):
                    assert (await poll(kept)).used == 10

    asyncio.run(run())


def test_a_restart_ends_the_session_and_a_later_poll_makes_a_new_one(
    start_postgres: StartPostgres,
) -> None:
    server = start_postgres(18)

    async def run() -> None:
        async with reading(server) as source:
            await poll(source)
            server.restart()
            assert (await failure(source)).reason is Reason.STARTING
            await poll(source)
            server.restart("immediate")
            assert (await failure(source)).reason is Reason.NETWORK
            await poll(source)
            assert left(server) == 1

    asyncio.run(run())


def test_a_crash_of_a_neighbour_is_survived(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)

    async def run() -> None:
        async with reading(server) as source:
            await poll(source)
            with sessions(server, 1) as (victim,):
                os.kill(victim.info.backend_pid, signal.SIGKILL)
                with pytest.raises(SourceError) as caught:
                    await poll_for(source, 15)
                assert caught.value.failure.reason in {Reason.NETWORK, Reason.STARTING}
                await poll_until(source)

    async def poll_for(source: PostgresSource, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            await poll(source)

    asyncio.run(run())


def test_settings_are_read_again_on_a_new_session(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)

    async def run() -> None:
        async with reading(server) as source:
            assert (await poll(source)).facts.limits.max_connections == 100
            server.psql("alter system set max_connections = 120")
            server.restart()
            await failure(source)
            assert (await poll(source)).facts.limits.max_connections == 120

    asyncio.run(run())


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("alter role app connection limit 1", Reason.ROLE_LIMIT),
        ("alter role app nologin", Reason.AUTH),
        ("alter database postgres connection limit 1", Reason.DATABASE_LIMIT),
        ("revoke connect on database postgres from public", Reason.AUTH),
    ],
)
def test_refusals_of_the_role_are_blindness_not_exhaustion(
    start_postgres: StartPostgres, sql: str, reason: Reason
) -> None:
    server = start_postgres(16)
    server.psql("create role app login; grant pg_read_all_stats to app")

    async def run() -> None:
        async with reading(server, "app") as kept, reading(server, "app") as late:
            await poll(kept)
            server.psql(sql)
            assert (await failure(late, used_ratio=1.0)).reason is reason
            await poll(kept)

    asyncio.run(run())


def test_a_wrong_password_is_told_without_it(start_postgres: StartPostgres, tmp_path: Path) -> None:
    server = start_postgres(18, hba=["host all all 127.0.0.1/32 scram-sha-256"])
    server.psql("create role app login password 'right'; grant pg_read_all_stats to app")
    path = tmp_path / "password"
    path.write_text("hunter2\n")
    now = [100.0]

    async def run() -> None:
        dsn = server.dsn("app", password="also-wrong")
        async with reading(dsn, clock=lambda: now[0], password_file=path) as source:
            failed = await failure(source)
            assert failed.reason is Reason.AUTH
            assert "hunter2" not in failed.message + failed.hint
            # The file is read anew for each attempt; attempts keep a distance.
            path.write_text("right\n")
            assert await failure(source) == failed
            now[0] += 10
            await poll(source)

    asyncio.run(run())


def test_no_server_is_a_matter_of_the_network() -> None:
    async def run() -> None:
        async with reading(f"postgresql://app@127.0.0.1:{free_port()}") as source:
            failed = await failure(source, used_ratio=1.0)
            assert failed.reason is Reason.NETWORK
            assert "127.0.0.1" in failed.message

    asyncio.run(run())


def accepted(service: socket.socket) -> int:
    """How many connections have come in since the last look."""
    service.settimeout(0)
    number = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            service.accept()[0].close()
            number += 1
    return number


def test_a_login_without_an_answer_is_late_and_not_repeated_at_once() -> None:
    now = [100.0]

    async def run(service: socket.socket) -> None:
        dsn = f"postgresql://app@127.0.0.1:{service.getsockname()[1]}?sslmode=disable"
        async with reading(dsn, polling=QUICK, clock=lambda: now[0]) as source:
            for _ in range(3):
                assert (await failure(source)).reason is Reason.LATE
            assert accepted(service) == 1
            now[0] += 10
            assert (await failure(source)).reason is Reason.LATE
            assert accepted(service) == 1

    with socket.create_server(("127.0.0.1", 0)) as service:
        asyncio.run(run(service))


def test_a_line_that_is_cut_is_made_again(postgres16: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(postgres16) as source:
            await poll(source)
            session = source._session
            assert session._connection is not None
            with socket.socket(fileno=os.dup(session._connection.pgconn.socket)) as line:
                line.shutdown(socket.SHUT_RDWR)
            assert (await failure(source)).reason is Reason.NETWORK
            await poll(source)

    asyncio.run(run())
