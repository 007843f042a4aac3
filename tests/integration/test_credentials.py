"""Where passwords and certificates come from, against real servers that check them."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.server import Reason
from exporter.sources.probe import probe
from exporter.sources.session import BACKOFF_LONGEST_SECONDS
from tests.conftest import StartPostgres
from tests.support.certificates import Authority, turn_tls_on
from tests.support.postgres import eventually, failure, left, poll, poll_until, reading, watchers

SCRAM = ["host all all 127.0.0.1/32 scram-sha-256"]


@pytest.fixture
def scram(start_postgres: StartPostgres) -> EmbeddedPostgres:
    server = start_postgres(17, hba=SCRAM)
    server.psql("create role app login password 'first'; grant pg_read_all_stats to app")
    return server


def replace(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


async def rotated(server: EmbeddedPostgres, options: dict[str, Any], secret: Path) -> None:
    """The open session outlives a rotation; the next login has the new secret, no restart."""
    now = [100.0]
    dsn = options.pop("dsn", server.dsn("app"))
    async with reading(str(dsn), clock=lambda: now[0], **options) as source:
        await poll(source)
        (kept,) = watchers(server)
        server.psql("alter role app password 'second'")
        await poll(source)
        assert (await source.probe(5.0)).reason is Reason.AUTH
        assert watchers(server) == [kept]
        replace(secret, "first", "second")
        assert (await source.probe(5.0)).reason is None
        server.psql(f"select pg_terminate_backend({kept})")
        assert (await failure(source)).reason is Reason.STARTING
        now[0] += BACKOFF_LONGEST_SECONDS
        await poll_until(source)
        assert left(server) == 1


@pytest.mark.parametrize("kind", ["list", "shell"])
def test_a_command_gives_the_password_of_each_login(
    scram: EmbeddedPostgres, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first\nsecond line, not part of it\n")
    argv = ["cat", str(secret)]
    command = argv if kind == "list" else f"{shlex.join(argv)} | sed -n 1p"
    asyncio.run(rotated(scram, {"password_command": command}, secret))


def test_a_passfile_is_read_for_each_login(scram: EmbeddedPostgres, tmp_path: Path) -> None:
    path = tmp_path / "passfile"
    path.write_text(f"127.0.0.1:{scram.port}:*:app:first\n")
    path.chmod(0o600)
    asyncio.run(rotated(scram, {"dsn": scram.dsn("app", passfile=str(path))}, path))


def test_a_service_file_names_the_server_and_the_password(
    scram: EmbeddedPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pg_service.conf"
    path.write_text(
        f"[shop]\nhost=127.0.0.1\nport={scram.port}\ndbname=postgres\nuser=app\npassword=first\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    asyncio.run(rotated(scram, {"dsn": "service=shop"}, path))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("print('hunter2'); raise SystemExit(3)", "ended with status 3"),
        ("pass", "wrote nothing"),
        ("print('hunter2' * 20000)", "wrote a line of more than 65536 bytes"),
        ("import os; os.write(1, b'hunter2\\xff\\n')", "wrote no UTF-8 text"),
        ("import time; print('hunter2', flush=True); time.sleep(60)", "did not end within 0.5 s"),
    ],
)
def test_what_a_command_does_wrong_is_said_without_what_it_said(
    scram: EmbeddedPostgres, script: str, said: str
) -> None:
    command = [sys.executable, "-c", script]
    # An interpreter needs its time to start; only the last script is to be late.
    seconds = 0.5 if "sleep" in script else 60

    async def run() -> None:
        options: dict[str, Any] = {"password_command": command, "password_timeout": seconds}
        async with reading(scram.dsn("app"), **options) as source:
            failed = await failure(source)
            seen = await source.probe(5.0)
        for reason, message in ((failed.reason, failed.message), (seen.reason, seen.message)):
            assert reason is Reason.AUTH
            assert said in message
            assert "hunter2" not in message
        assert "by hand" in failed.hint

    asyncio.run(run())


def test_a_command_that_is_not_there_is_named_by_its_key(scram: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(scram.dsn("app"), password_command=["/no/such/program"]) as source:
            failed = await failure(source)
            assert failed.reason is Reason.AUTH
            assert failed.message == "password_command cannot be run: No such file or directory"

    asyncio.run(run())


def runs(pid: str) -> bool:
    """Whether the process is there, and not only waits for somebody to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_hanging_command_holds_up_nobody_and_ends_with_its_children(
    scram: EmbeddedPostgres, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 300 & echo $! $$ > {pids}; wait"

    def written() -> list[str]:
        return pids.read_text().split() if pids.exists() else []

    async def run() -> None:
        options: dict[str, Any] = {"password_command": command, "password_timeout": 60}
        async with reading(scram.dsn("app"), **options) as source:
            waiting = asyncio.create_task(failure(source))
            # The loop turns meanwhile, or this would never begin.
            assert await asyncio.to_thread(eventually, lambda: len(written()) == 2)
            assert not waiting.done()
            await source.close()
            assert (await waiting).message == "the session has ended"

    asyncio.run(run())
    assert eventually(lambda: not any(runs(pid) for pid in written())) is True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# The wheel's servers, 16 and 18, are built without TLS.
@pytest.mark.parametrize("major", [13, 17])
def test_a_client_certificate_logs_in_and_the_servers_is_verified(
    start_postgres: StartPostgres, authority: Authority, major: int
) -> None:
    server = start_postgres(major, hba=["hostssl all all 127.0.0.1/32 cert clientcert=verify-full"])
    server.psql("create role app login; grant pg_read_all_stats to app")
    turn_tls_on(server, authority)
    certificate, key = authority.certificate("app")
    verified = {"sslmode": "verify-full", "sslrootcert": str(authority.ca)}
    own = {"sslcert": str(certificate), "sslkey": str(key)}

    async def run() -> None:
        async with reading(server.dsn("app", **verified, **own)) as source:
            await poll_until(source)
            assert (await source.probe(5.0)).reason is None
        async with reading(server.dsn("app", **verified)) as source:
            failed = await failure(source)
            assert failed.reason is Reason.AUTH
            assert failed.message == "connection requires a valid client certificate"
            assert "sslcert" in failed.hint

    asyncio.run(run())


def seen(dsn: str) -> tuple[Reason | None, str]:
    found = asyncio.run(probe(Credentials(dsn=SecretStr(dsn)), "direct", 10.0, 5.0))
    return found.reason, found.message


@pytest.fixture(scope="module")
def encrypted(authority: Authority, start_shared: StartPostgres) -> EmbeddedPostgres:
    server = start_shared(15)
    turn_tls_on(server, authority, "DNS:db.example.com")
    assert eventually(lambda: seen(server.dsn(sslmode="require"))[0] is None) is True
    return server


def test_another_name_in_the_certificate_is_refused(
    encrypted: EmbeddedPostgres, authority: Authority
) -> None:
    root = str(authority.ca)
    reason, message = seen(encrypted.dsn(sslmode="verify-full", sslrootcert=root))
    assert reason is Reason.TLS
    assert 'does not match host name "127.0.0.1"' in message
    assert seen(encrypted.dsn(sslmode="verify-ca", sslrootcert=root)) == (None, "")


def test_another_authority_is_refused(encrypted: EmbeddedPostgres, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    reason, message = seen(encrypted.dsn(sslmode="verify-ca", sslrootcert=str(stranger.ca)))
    assert reason is Reason.TLS
    assert "certificate verify failed" in message


def test_an_authority_that_is_not_there_is_refused(encrypted: EmbeddedPostgres) -> None:
    reason, message = seen(encrypted.dsn(sslmode="verify-full", sslrootcert="/no/ca.crt"))
    assert reason is Reason.TLS
    assert "/no/ca.crt" in message


def test_a_host_without_an_address_is_named_wherever_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pg_service.conf"
    path.write_text("[shop]\nhost=shop.invalid\n")
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    monkeypatch.setenv("PGHOST", "environment.invalid")
    for dsn, host in (("service=shop", "shop.invalid"), ("user=app", "environment.invalid")):
        reason, message = seen(dsn)
        assert reason is Reason.NETWORK
        assert message.startswith(f"failed to resolve host '{host}': ")
