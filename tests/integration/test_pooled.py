"""Poolers are refused, proxies are not: each is known by what it does."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.server import Reason
from tests.conftest import StartPgBouncer
from tests.support.pgbouncer import SUITES, leads_to
from tests.support.postgres import eventually, failure, poll, reading, startup_packet, watchers

READY = b"Z\0\0\0\5"
#: Messages of a client that the server answers with ReadyForQuery: Query and Sync.
ASKS = (b"Q", b"S")
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Between:
    """Something between a client and a server: it gives clients a process id of its own.

    It has as many backends as `kept`, made before any client comes, and takes the next one for each
    statement; with none it makes one for each client, as a proxy does.
    """

    server: EmbeddedPostgres
    kept: list[Line] = field(default_factory=list)
    greeting: bytes = b""
    parameters: bytes = b""
    turns: int = 0
    clients: list[asyncio.Task[None]] = field(default_factory=list)

    async def keep(self) -> None:
        """Make one more backend, and remember what it said when the login was over."""
        line = await asyncio.open_connection("127.0.0.1", self.server.port)
        line[1].write(startup_packet(b"postgres"))
        self.greeting = await self._answer(line[0])
        self.kept.append(line)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.clients.append(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._client(reader, writer)
        await _close(writer)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        packet = await reader.readexactly(length - 4)
        if self.kept:
            writer.write(self._disguised(self.greeting))
            await self._statements(reader, writer, None)
            return
        own = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            own[1].write(struct.pack("!i", length) + packet)
            writer.write(self._disguised(await self._answer(own[0])))
            await self._statements(reader, writer, own)
        finally:
            await _close(own[1])

    async def _statements(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, own: Line | None
    ) -> None:
        while True:
            asked = b""
            backend, messages = own, b""
            while asked not in ASKS:
                head = await reader.readexactly(5)
                messages += head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                asked = head[0:1]
                if asked == b"X":
                    return
            self.turns += 1
            if self.kept:
                backend = self.kept[self.turns % len(self.kept)]
            assert backend is not None
            backend[1].write(messages)
            writer.write(await self._answer(backend[0]))

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        answer = b""
        while True:
            head = await reader.readexactly(5)
            answer += head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
            if head == READY:
                return answer

    def _disguised(self, greeting: bytes) -> bytes:
        """With a made-up process id, and with what else it says of itself."""
        at = greeting.index(b"K\0\0\0\x0c")
        key = greeting[at : at + 5] + struct.pack("!i", 123_456_789) + greeting[at + 9 :]
        return greeting[:at] + self.parameters + key


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def between(
    server: EmbeddedPostgres, backends: int = 0, parameters: bytes = b""
) -> AsyncIterator[tuple[str, Between]]:
    """Something between, and a DSN that leads through it."""
    middle = Between(server, parameters=parameters)
    for _ in range(backends):
        await middle.keep()
    service = await asyncio.start_server(middle.serve, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}?sslmode=disable&gssencmode=disable", middle
    finally:
        service.close()
        await asyncio.gather(*middle.clients)
        for _, writer in middle.kept:
            await _close(writer)


def parameter(name: bytes, value: bytes) -> bytes:
    body = name + b"\0" + value + b"\0"
    return b"S" + struct.pack("!i", len(body) + 4) + body


def gone(server: EmbeddedPostgres) -> bool:
    return eventually(lambda: not watchers(server))


def test_a_proxy_that_makes_up_the_process_id_is_no_pooler(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with between(postgres) as (dsn, _), reading(dsn) as source:
            assert (await poll(source)).used >= 1
            assert (await poll(source)).used >= 1

    asyncio.run(run())
    assert gone(postgres)


def test_pgbouncer_is_known_by_what_it_says_of_itself(postgres16: EmbeddedPostgres) -> None:
    async def run(name: bytes, value: bytes) -> None:
        async with (
            between(postgres16, parameters=parameter(name, value)) as (dsn, _),
            reading(dsn) as source,
        ):
            failed = await failure(source)
            assert failed.reason is Reason.POOLED
            assert "Postgres itself" in failed.hint

    for name, value in (
        (b"pgbouncer.version", b"1.26.1"),
        (b"pgbouncer.pool_mode", b"transaction"),
        (b"server_version", b"1.24.1/bouncer"),
    ):
        asyncio.run(run(name, value))
    assert gone(postgres16)


@pytest.mark.parametrize("suite", SUITES)
def test_a_pool_that_serves_us_alone_is_known_by_a_second_client(
    postgres16: EmbeddedPostgres, start_pgbouncer: StartPgBouncer, suite: str
) -> None:
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16)}, {"pool_mode": "transaction"})

    async def run() -> None:
        async with reading(pooler.dsn("app", "postgres")) as source:
            for _ in range(2):
                assert (await failure(source)).reason is Reason.POOLED

    asyncio.run(run())


def test_a_backend_for_each_statement_is_a_pooler(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with between(postgres, backends=2) as (dsn, _), reading(dsn) as source:
            assert (await failure(source)).reason is Reason.POOLED

    asyncio.run(run())


def test_a_backend_older_than_the_connection_is_a_pooler(postgres16: EmbeddedPostgres) -> None:
    age = "select max(clock_timestamp() - backend_start) > '2 s' from pg_stat_activity where"

    async def run() -> None:
        async with between(postgres16, backends=1) as (dsn, _):
            old = f"{age} backend_type = 'client backend' and application_name = ''"
            assert await asyncio.to_thread(eventually, lambda: postgres16.psql(old) == "t")
            async with reading(dsn) as source:
                assert (await failure(source)).reason is Reason.POOLED

    asyncio.run(run())


def test_another_backend_in_the_middle_of_a_session_is_a_pooler(
    postgres16: EmbeddedPostgres,
) -> None:
    async def run() -> None:
        async with between(postgres16) as (dsn, middle), reading(dsn) as source:
            # A pool that made a backend just for us looks like a proxy until it has a second one.
            await source._session.ready()
            await middle.keep()
            assert (await failure(source)).reason is Reason.POOLED

    asyncio.run(run())
