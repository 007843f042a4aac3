"""The connect probe against real servers: what it says, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.demo.postgres import EmbeddedPostgres, free_port
from exporter.snapshot.server import Probe, Reason
from exporter.sources.probe import probe
from tests.conftest import StartPostgres
from tests.support.postgres import eventually, frozen_server, reading, sessions, watchers


def probed(dsn: str, deadline: float = 10.0, used_ratio: float | None = None) -> Probe:
    credentials = Credentials(dsn=SecretStr(dsn))
    return asyncio.run(probe(credentials, "direct", deadline, 5.0, used_ratio=used_ratio))


def test_a_new_client_gets_in_and_leaves(postgres: EmbeddedPostgres) -> None:
    seen = probed(postgres.dsn())
    assert (seen.via, seen.at, seen.reason, seen.message) == ("direct", 5.0, None, "")
    assert 0 < seen.seconds < 10
    assert eventually(lambda: not watchers(postgres, "pgheadroom-probe")) is True


def test_a_full_server_refuses_it(start_postgres: StartPostgres) -> None:
    server = start_postgres(16, max_connections=6, superuser_reserved_connections=2)
    server.psql("create role app login")
    with sessions(server, 4, user="app"):
        assert probed(server.dsn("app")).reason is Reason.REFUSED
        assert probed(server.dsn()).reason is None
        with sessions(server, 2):
            seen = probed(server.dsn())
            assert seen.reason is Reason.REFUSED
            assert seen.message == "sorry, too many clients already"


def test_a_full_server_that_speaks_another_language_counts_as_refusing() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        fields = b"SFATAL\0VFATAL\0C53300\0Mzu viele Verbindungen\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        writer.close()
        await writer.wait_closed()

    async def run(used_ratio: float) -> Probe:
        service = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = service.sockets[0].getsockname()[1]
        dsn = f"postgresql://app@127.0.0.1:{port}?sslmode=disable&gssencmode=disable"
        async with service:
            credentials = Credentials(dsn=SecretStr(dsn))
            return await probe(credentials, "direct", 5.0, 5.0, used_ratio=used_ratio)

    assert asyncio.run(run(0.95)).reason is Reason.REFUSED
    assert asyncio.run(run(0.5)).reason is Reason.ERROR


def test_a_wrong_password_is_told_without_it(start_postgres: StartPostgres) -> None:
    server = start_postgres(18, hba=["host all all 127.0.0.1/32 scram-sha-256"])
    server.psql("create role app login password 'right'")
    seen = probed(server.dsn("app", password="hunter2"))
    assert seen.reason is Reason.AUTH
    assert "hunter2" not in seen.message
    assert probed(server.dsn("app", password="right")).reason is None


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("postgresql://app@127.0.0.1:{port}", Reason.NETWORK),
        ("host=/nowhere", Reason.NETWORK),
        ("postgresql://u:hunter2%zz@h", Reason.ERROR),
    ],
)
def test_what_keeps_it_from_the_server(dsn: str, reason: Reason) -> None:
    seen = probed(dsn.replace("{port}", str(free_port())))
    assert seen.reason is reason
    assert "hunter2" not in seen.message


def test_tls_that_the_server_does_not_speak(postgres16: EmbeddedPostgres) -> None:
    assert probed(postgres16.dsn(sslmode="require")).reason is Reason.TLS


def test_a_frozen_server_is_late_and_keeps_nothing_of_it(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)
    with frozen_server(server):
        seen = probed(server.dsn(), deadline=0.3)
        assert seen.reason is Reason.LATE
        assert seen.seconds < 2, "psycopg's own deadline is 2 s at least; ours must come first"
    assert eventually(lambda: not watchers(server, "pgheadroom-probe")) is True


def test_it_uses_credentials_of_its_own(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)
    server.psql("create role app login connection limit 0")

    async def run() -> None:
        own = {"credentials": {"dsn": SecretStr(server.dsn("app"))}}
        async with reading(server, probe=own) as source:
            seen = await source.probe(5.0)
            assert (seen.via, seen.reason) == ("direct", Reason.ROLE_LIMIT)
        async with reading(server) as source:
            assert (await source.probe(5.0)).reason is None

    asyncio.run(run())
