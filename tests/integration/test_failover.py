"""Standbys, promotions, several hosts, and the ways to a server: TCP, IPv6, a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from exporter.demo.postgres import EmbeddedPostgres, free_port
from exporter.snapshot.server import Reason
from tests.conftest import StartPostgres
from tests.support.postgres import eventually, failure, left, poll, poll_until, reading, watchers
from tests.support.standby import Standby


@contextlib.contextmanager
def following(primary: EmbeddedPostgres) -> Iterator[Standby]:
    with Standby(primary) as standby:
        yield standby


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize("major", [13, 16, 18])
def test_a_promotion_is_seen_by_the_next_poll_on_the_same_session(
    start_postgres: StartPostgres, major: int
) -> None:
    with following(start_postgres(major)) as standby:

        async def run() -> None:
            async with reading(standby) as source:
                assert (await poll(source)).facts.role == "standby"
                (kept,) = watchers(standby)
                standby.promote()
                is_out = "select not pg_is_in_recovery()"
                assert await asyncio.to_thread(eventually, lambda: standby.psql(is_out) == "t")
                assert (await poll(source)).facts.role == "primary"
                assert watchers(standby) == [kept]

        asyncio.run(run())


def test_of_several_hosts_the_primary_is_found_before_and_after_a_failover(
    start_postgres: StartPostgres,
) -> None:
    primary = start_postgres(17)
    with following(primary) as standby:
        ports = f"{free_port()},{standby.port},{primary.port}"
        hosts = "127.0.0.1,127.0.0.1,127.0.0.1"
        where = f"host={hosts} port={ports} user=postgres target_session_attrs="
        now = [100.0]

        async def run() -> None:
            async with (
                reading(f"{where}read-write", clock=lambda: now[0]) as source,
                reading(f"{where}standby") as other,
            ):
                assert (await poll(source)).facts.role == "primary"
                assert (await poll(other)).facts.role == "standby"
                assert left(primary) == left(standby) == 1
                primary.stop("immediate")
                assert (await failure(source)).reason is Reason.NETWORK
                # One that was still read-only would be asked again by a clock that stands still.
                standby.promote(wait=True)
                now[0] += 100
                snapshot = await poll_until(source, lambda seen: seen.facts.role == "primary")
                assert snapshot.facts.version_num // 10000 == 17
                assert eventually(lambda: len(watchers(standby)) == 2)

        asyncio.run(run())


def test_of_several_hosts_the_answer_of_a_postgres_is_told(start_postgres: StartPostgres) -> None:
    server = start_postgres(14, hba=["host all all 127.0.0.1/32 reject"])
    dsn = f"host=127.0.0.1,127.0.0.1 port={server.port},{free_port()} user=app dbname=postgres"

    async def run() -> None:
        async with reading(dsn) as source:
            failed = await failure(source)
            assert failed.reason is Reason.AUTH
            assert failed.message.startswith("pg_hba.conf rejects connection")

    asyncio.run(run())


def test_a_unix_socket(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        dsn = f"host={postgres.socket_dir} port={postgres.port} user=postgres"
        async with reading(dsn) as source:
            snapshot = await poll(source)
            (ours,) = (g for g in snapshot.activity.clients if g.application_name == "pgheadroom")
            assert ours.client_addr == ""
            assert (await source.probe(5.0)).reason is None

    asyncio.run(run())


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_ipv6(start_postgres: StartPostgres) -> None:
    server = start_postgres(16, hba=["host all all ::1/128 trust"], listen_addresses="::1")

    async def run() -> None:
        async with reading(f"postgresql://postgres@[::1]:{server.port}/postgres") as source:
            snapshot = await poll(source)
            assert {group.client_addr for group in snapshot.activity.clients} == {"::1"}
            server.stop("immediate")
            assert (await failure(source)).reason is Reason.NETWORK
            assert "::1" in (await source.probe(5.0)).message

    asyncio.run(run())
