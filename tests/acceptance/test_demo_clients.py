from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from exporter.demo import wire
from exporter.demo.clients import Connection, Launch, Refused
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from tests.support.parts import needing

USABLE = 17  # max_connections=20 less the 3 of superuser_reserved_connections


@pytest.fixture(scope="module", params=[16, 18])
def small(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with needing(PostgresError):
        server = EmbeddedPostgres(request.param, {"max_connections": 20})
    with server:
        server.psql("create role app login; create role shut nologin;")
        yield server


def launch_to(server: EmbeddedPostgres, **shape: float) -> Launch:
    given = {"start": 2, "end": 30, "ramp_seconds": 1.0, "retry_seconds": 0.1} | shape
    return Launch("127.0.0.1", server.port, **given)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110  what is waited for is another process' doing
            await asyncio.sleep(0.01)


def empty(server: EmbeddedPostgres) -> None:
    """Wait for the backends of the test before to have left."""
    deadline = time.monotonic() + 10
    count = "select count(*) from pg_stat_activity where usename = 'app'"
    while server.psql(count) != "0":
        assert time.monotonic() < deadline


def test_the_launch_fills_every_usable_slot_and_is_refused(small: EmbeddedPostgres) -> None:
    async def play() -> Launch:
        launch = launch_to(small)
        try:
            await launch.open()
            assert launch.held == 2
            assert launch.refusals == 0
            await launch.ramp()
            async with asyncio.timeout(10):
                assert await launch.refused() is launch.first_refusal
            await until(lambda: launch.refusals > 20 and launch.held == USABLE)
        finally:
            await launch.close()
        return launch

    empty(small)
    launch = asyncio.run(play())
    assert launch.first_refusal is not None
    assert launch.first_refusal.sqlstate == wire.TOO_MANY_CONNECTIONS
    assert "remaining connection slots" in launch.first_refusal.message
    assert launch.failures == 0
    assert launch.wanted == 30
    assert max(held for _, held in launch.curve) == USABLE
    assert launch.held == 0
    full_at = next(at for at, held in launch.curve if held == USABLE)
    assert launch.began is not None
    assert launch.began < full_at
    assert launch.began < launch.first_refusal.at


def test_what_the_server_sees_of_the_launch(small: EmbeddedPostgres) -> None:
    async def play() -> str:
        launch = launch_to(small, end=17, ramp_seconds=0.1, idle_transactions=1)
        try:
            await launch.open()
            await launch.ramp()
            await until(lambda: launch.held == USABLE)
            query = (
                "select application_name, count(*), count(*) filter (where state like 'idle in%')"
                " from pg_stat_activity where usename = 'app' group by 1 order by 2 desc"
            )
            await until(lambda: "|1\n" in small.psql(query))
            return small.psql(query)
        finally:
            await launch.close()

    empty(small)
    seen = asyncio.run(play())
    assert seen.splitlines()[0].startswith("checkout-lambda|13|1")
    assert sum(int(line.split("|")[1]) for line in seen.splitlines()) == USABLE


def test_a_client_whose_session_the_server_ends_comes_back(small: EmbeddedPostgres) -> None:
    async def play() -> int:
        launch = launch_to(small, start=4, end=4)
        try:
            await launch.open()
            ending = "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            await asyncio.to_thread(small.psql, f"{ending} where usename = 'app'")
            await until(lambda: launch.failures >= 4 and launch.held == 4)
            return launch.refusals
        finally:
            await launch.close()

    empty(small)
    assert asyncio.run(play()) == 0


def test_a_login_that_is_not_allowed_is_no_refusal(small: EmbeddedPostgres) -> None:
    async def play() -> Launch:
        launch = launch_to(small, start=1, end=1, user="shut")  # type: ignore[arg-type]
        try:
            with pytest.raises(TimeoutError):
                await launch.open(deadline=0.5)
        finally:
            await launch.close()
        return launch

    launch = asyncio.run(play())
    assert launch.failures > 0
    assert launch.refusals == 0
    assert launch.first_refusal is None


def test_an_error_of_a_query_carries_its_sqlstate(small: EmbeddedPostgres) -> None:
    async def play() -> str:
        connection = await Connection.open(
            "127.0.0.1", small.port, user="app", database="postgres", application_name="one"
        )
        try:
            with pytest.raises(Refused) as caught:
                await connection.query("select 1/0")
        finally:
            connection.close()
        return caught.value.sqlstate

    assert asyncio.run(play()) == "22012"


def test_nobody_listening_is_a_failure_and_no_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    async def play() -> Launch:
        launch = Launch("127.0.0.1", port, start=1, end=1, retry_seconds=0.05)
        try:
            with pytest.raises(TimeoutError):
                await launch.open(deadline=0.3)
        finally:
            await launch.close()
        return launch

    launch = asyncio.run(play())
    assert launch.failures > 1
    assert launch.first_refusal is None


@pytest.mark.parametrize("shape", [{"start": 9, "end": 8}, {"start": -1}, {"ramp_seconds": 0.0}])
def test_a_launch_of_an_impossible_shape_is_refused(shape: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a launch needs"):
        Launch("127.0.0.1", 1, **shape)  # type: ignore[arg-type]
