"""A connect probe that the server does not answer takes one slot, however often it is due."""

from __future__ import annotations

import asyncio

import psycopg
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.snapshot.server import Reason
from exporter.sources.probe import ConnectProbe
from tests.support.postgres import children, eventually


def prober(server, **changes) -> ConnectProbe:
    credentials = Credentials(dsn=SecretStr(server.dsn()))
    return ConnectProbe(credentials, "direct", 0.3, **changes)


def test_a_login_that_waits_for_a_lock_is_waited_for(start_postgres):
    server = start_postgres(16, autovacuum=False)

    async def run() -> None:
        probe = prober(server)
        with psycopg.connect(server.dsn()) as locker:
            locker.execute("lock table pg_database in access exclusive mode")
            before = len(children(server.pid))
            for _ in range(4):
                assert (await probe.look(5.0)).reason is Reason.LATE
            assert len(children(server.pid)) == before + 1
            locker.rollback()
            seen = await probe.look(6.0)
        assert (seen.reason, seen.at) == (None, 6.0)
        assert seen.seconds > 1.2, "it is the login that began first"
        assert (await probe.look(7.0)).seconds < seen.seconds

    asyncio.run(run())


def test_it_is_given_up_in_the_end(start_postgres):
    server = start_postgres(16, autovacuum=False)

    async def run() -> None:
        probe = prober(server, hold=0.5)
        with psycopg.connect(server.dsn()) as locker:
            locker.execute("lock table pg_database in access exclusive mode")
            before = len(children(server.pid))
            for _ in range(3):
                assert (await probe.look(5.0)).reason is Reason.LATE
            # The first is given up at its second look; the server keeps it until the lock is gone.
            assert len(children(server.pid)) == before + 2
            await probe.close()
        assert eventually(lambda: len(children(server.pid)) < before) is True

    asyncio.run(run())
