"""Whom others wait for, on real servers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import psycopg

from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.blockers import Blocker, roots
from exporter.snapshot.server import Snapshot
from tests.conftest import StartPostgres
from tests.support.postgres import poll, poll_until, reading, sessions


@contextlib.contextmanager
def waiting_for_table(connections: list[psycopg.Connection]) -> Iterator[None]:
    """Each of `connections` waits for the table until the block ends."""

    def read(connection: psycopg.Connection) -> None:
        with contextlib.suppress(psycopg.Error):
            connection.execute("lock table contended in access exclusive mode")

    workers = [threading.Thread(target=read, args=(each,)) for each in connections]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for connection, worker in zip(connections, workers, strict=True):
            while worker.is_alive():
                connection.cancel_safe(timeout=5)
                worker.join(0.05)


def heads(snapshot: Snapshot) -> tuple[Blocker, ...]:
    return roots(snapshot.blockers)


def test_the_head_of_the_queue_is_named_with_what_it_does(postgres: EmbeddedPostgres) -> None:
    postgres.psql("create table if not exists contended (n int)")

    def three(snapshot: Snapshot) -> bool:
        return any(each.blocked == 3 for each in heads(snapshot))

    async def run() -> None:
        async with reading(postgres) as source:
            assert (await poll(source)).blockers == ()
            with sessions(postgres, 4, application_name="checkout") as (owner, *waiters):
                for session in (owner, *waiters):
                    session.execute("begin")
                owner.execute("lock table contended in access exclusive mode")
                with waiting_for_table(waiters):
                    (head,) = heads(await poll_until(source, three))
                    assert head.pid == owner.info.backend_pid
                    assert (head.usename, head.datname) == ("postgres", "postgres")
                    assert (head.application_name, head.state) == (
                        "checkout",
                        "idle in transaction",
                    )
                    assert head.client_addr == "127.0.0.1"
                    assert head.root
                    assert head.transaction_seconds is not None
                    assert head.state_seconds is not None
                    assert 0 <= head.state_seconds <= head.transaction_seconds
            assert (await poll_until(source, lambda seen: not seen.blockers)).blockers == ()

    asyncio.run(run())


def test_client_addresses_are_left_out_on_request(postgres16: EmbeddedPostgres) -> None:
    postgres16.psql("create table if not exists contended (n int)")

    async def run() -> None:
        async with reading(postgres16, client_addresses=False) as source:
            with sessions(postgres16, 2) as (owner, waiter):
                for session in (owner, waiter):
                    session.execute("begin")
                owner.execute("lock table contended in access exclusive mode")
                with waiting_for_table([waiter]):
                    (head,) = heads(await poll_until(source, heads))
                    assert head.client_addr == ""

    asyncio.run(run())


def test_a_prepared_transaction_blocks_without_a_backend(start_postgres: StartPostgres) -> None:
    server = start_postgres(16, max_prepared_transactions=2)
    server.psql(
        "create table contended (n int); begin;"
        "lock table contended in access exclusive mode; prepare transaction 'forgotten'"
    )

    async def run() -> None:
        async with reading(server) as source:
            with sessions(server, 1) as (waiter,):
                waiter.execute("begin")
                with waiting_for_table([waiter]):
                    (head,) = heads(await poll_until(source, heads))
                    assert (head.pid, head.blocked, head.usename) == (0, 1, "")

    asyncio.run(run())


def test_nobody_is_asked_while_nobody_waits(postgres16: EmbeddedPostgres) -> None:
    now = [100.0]

    async def run() -> None:
        async with reading(postgres16, clock=lambda: now[0]) as source:
            await poll(source)
            now[0] += 100
            await poll(source)
            # A read that was tried is not due again for seconds, whatever came of it.
            assert source._due["blockers"] == 100.0
            assert source._due["counters"] > now[0]

    asyncio.run(run())
