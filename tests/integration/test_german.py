"""A server with a German lc_messages refuses in German, and is understood."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import psycopg
import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.demo.postgres import EmbeddedPostgres, Setting
from exporter.snapshot.server import Probe, Reason
from exporter.sources.probe import probe
from tests.support.debian import MissingError
from tests.support.german import LOCALE, MAJOR, german
from tests.support.parts import needing
from tests.support.postgres import eventually, failure, poll, reading, sessions, watchers

HBA = (
    "host all rejected 127.0.0.1/32 reject",
    "host all secret 127.0.0.1/32 scram-sha-256",
    "host all postgres,app,limited,asleep,ghost 127.0.0.1/32 trust",
)
SQL = """
create role app login; create role limited login connection limit 0; create role asleep;
create role secret login password 'right'; create role rejected login;
create role unlisted login; create database limited connection limit 0;
create database closed allow_connections false; create database private;
revoke connect on database private from public;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with needing(MissingError):
        programs, environ = german()
    settings: dict[str, Setting] = {
        "max_connections": 8,
        "superuser_reserved_connections": 3,
        "lc_messages": LOCALE,
        "autovacuum": False,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        with EmbeddedPostgres(MAJOR, settings, HBA, programs) as started:
            started.psql(SQL)
            yield started


def tried(dsn: str) -> Probe:
    return asyncio.run(probe(Credentials(dsn=SecretStr(dsn)), "direct", 10.0, 5.0))


def test_each_refusal_has_its_reason_whatever_its_language(server: EmbeddedPostgres) -> None:
    cases = (
        (server.dsn("limited"), Reason.ROLE_LIMIT, "zu viele Verbindungen von Rolle »limited«"),
        (
            server.dsn("app", dbname="limited"),
            Reason.DATABASE_LIMIT,
            "zu viele Verbindungen für Datenbank »limited«",
        ),
        (server.dsn("asleep"), Reason.AUTH, "hat keine Berechtigung zum Einloggen"),
        (server.dsn("ghost"), Reason.AUTH, "Rolle »ghost« existiert nicht"),
        (server.dsn("rejected"), Reason.AUTH, "pg_hba.conf lehnt Verbindung ab"),
        (server.dsn("unlisted"), Reason.AUTH, "kein pg_hba.conf-Eintrag"),
        (
            server.dsn("secret", password="wrong"),
            Reason.AUTH,
            "Passwort-Authentifizierung für Benutzer »secret« fehlgeschlagen",
        ),
        (server.dsn("app", dbname="nowhere"), Reason.ERROR, "»nowhere« existiert nicht"),
        (server.dsn("app", dbname="closed"), Reason.ERROR, "gegenwärtig keine Verbindungen"),
        (server.dsn("app", dbname="private"), Reason.AUTH, "keine Berechtigung für Datenbank"),
    )
    for dsn, reason, message in cases:
        seen = tried(dsn)
        assert seen.reason is reason, seen
        assert message in seen.message


def test_a_want_of_slots_is_refused(server: EmbeddedPostgres) -> None:
    with sessions(server, 5, user="app"):
        assert tried(server.dsn("app")).reason is Reason.REFUSED
        with sessions(server, 3):
            seen = tried(server.dsn())
            assert seen.reason is Reason.REFUSED
            assert seen.message == "tut mir leid, schon zu viele Verbindungen"


def test_ends_of_a_session(server: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(server) as source:
            await poll(source)
            with psycopg.connect(server.dsn()) as other:
                other.execute(f"select pg_terminate_backend({watchers(server)[0]})")
            assert await asyncio.to_thread(eventually, lambda: not watchers(server))
            assert (await failure(source)).reason is Reason.STARTING
            await poll(source)
            os.kill(server.pid, signal.SIGTERM)
            down = Reason.STARTING
            look = lambda: tried(server.dsn("app")).reason is down  # noqa: E731  used once
            assert await asyncio.to_thread(eventually, look)

    asyncio.run(run())
    server.stop("immediate")
    server.start()
