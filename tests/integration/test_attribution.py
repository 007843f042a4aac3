"""Who is really behind a backend that PgBouncer holds, on real ones and under load."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time

import psycopg
import pytest

from exporter.check import check
from exporter.config.model import Config
from exporter.poll import Front, look_behind
from exporter.sources.errors import SourceError
from tests.support.pgbouncer import NOW, SUITES, console, leads_to, looped
from tests.support.postgres import eventually, frozen, poll, reading

TRIES = int(os.environ.get("PGHEADROOM_ATTRIBUTIONS", "20"))
CLIENTS = 200
#: Clients that each hold a transaction at a time, beside those at full speed.
HOLDERS = 8


def local(connection):
    """The address and port of the client's own end."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        return line.getsockname()


#: Clients at full speed, each with a name and short transactions of its own.
BUSY = """
import sys, threading, psycopg
def work(index):
    with psycopg.connect(
        f"{sys.argv[1]} application_name=busy-{index}", autocommit=True, prepare_threshold=None
    ) as client:
        while True:
            client.execute("begin; select 1; commit")
for index in range(int(sys.argv[2])):
    threading.Thread(target=work, args=(index,), daemon=True).start()
print("started", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def busy(pooler, number):
    """`number` clients at full speed, in a process of their own."""
    command = [sys.executable, "-c", BUSY, pooler.dsn("app", "postgres"), str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def connected(pooler, index, **options):
    dsn = pooler.dsn("app", "postgres", application_name=f"holder-{index}", **options)
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


async def aged(source):
    """Wait until the server shows every holder for more than a second."""
    for _ in range(1000):
        try:
            if len(await source.held()) >= HOLDERS:
                return
        except SourceError:  # the machine is at its limit, and late; a poll sets it right
            with contextlib.suppress(SourceError):
                await poll(source)
        await asyncio.sleep(0.02)
    raise AssertionError("transactions do not grow old")


@contextlib.asynccontextmanager
async def watched(server, pooler, **console_options):
    """The server's source after its first poll, and the pooler in front of it."""
    async with reading(server) as source, console(pooler.dsn(**console_options)) as front:
        await poll(source)
        snapshot = await front.poll(NOW)
        yield source, Front("pgb", front, snapshot, (f"127.0.0.1:{server.port}",))


def one(client, query):
    """The only value of a row."""
    return client.execute(query).fetchone()[0]


def begin(client):
    """Hold a transaction; gives the backend that holds it."""
    client.execute("begin")
    return one(client, "select pg_backend_pid()")


@pytest.mark.slow(5)
@pytest.mark.parametrize("suite", SUITES)
@looped
async def test_no_wrong_attribution_under_full_speed(suite, postgres16, start_pgbouncer):
    """Most holders go on while they are looked at: their servers are others' a moment later."""
    settings = {"max_client_conn": 400, "max_prepared_statements": 0}
    if suite == SUITES[0]:
        del settings["max_prepared_statements"]
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16, pool_size=20)}, settings)
    right = wrong = unknown = 0
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(connected(pooler, index)) for index in range(HOLDERS)]
        truth = {f"holder-{index}": local(each) for index, each in enumerate(holders)}
        stack.enter_context(busy(pooler, CLIENTS - HOLDERS))
        async with watched(postgres16, pooler) as (source, front):
            tries = 0
            while tries < TRIES:
                pids = {
                    (await asyncio.to_thread(begin, each)): f"holder-{index}"
                    for index, each in enumerate(holders)
                }
                await aged(source)
                ending = [
                    asyncio.create_task(ended_soon(each)) for each in random.sample(holders, 4)
                ]
                attributed = None
                with contextlib.suppress(SourceError):
                    attributed = await look_behind(source, [front], NOW)
                await asyncio.gather(*ending)
                for each in holders:
                    await asyncio.to_thread(each.execute, "rollback")
                for each in attributed.found if attributed is not None else ():
                    tries += 1
                    expected = pids.get(each.pid, "")
                    seen = each.application_name, (each.client_addr, each.client_port)
                    if each.doubt:
                        unknown += 1
                    elif seen == (expected, truth.get(expected)):
                        right += 1
                    else:
                        wrong += 1
    print(f"{suite}: {right} right, {unknown} unknown, {wrong} wrong")  # noqa: T201  the figures
    assert wrong == 0
    assert right >= TRIES // 3


async def ended_soon(client):
    """End the transaction at some moment of the reading."""
    await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311  any moment will do
    await asyncio.to_thread(client.execute, "rollback")


@pytest.mark.parametrize("suite", SUITES)
@looped
async def test_tcp_and_unix_sockets(suite, postgres16, start_pgbouncer):
    sockets = postgres16.psql("show unix_socket_directories").split(",")[0].strip()
    by_unix = f"host={sockets} port={postgres16.port} dbname=postgres"
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16), "sock": by_unix})
    with contextlib.ExitStack() as stack:
        over_tcp = stack.enter_context(connected(pooler, 1))
        over_unix = stack.enter_context(
            psycopg.connect(
                pooler.dsn("sock", "postgres", unix=True, application_name="local"),
                autocommit=True, prepare_threshold=None,
            )
        )  # fmt: skip
        pids = [begin(over_tcp), begin(over_unix)]
        async with watched(postgres16, pooler) as (source, front):
            for _ in range(500):
                if len(await source.held()) == 2:
                    break
                await asyncio.sleep(0.02)
            attributed = await look_behind(source, [front], NOW)
    assert attributed is not None
    tcp, unix = (next(e for e in attributed.found if e.pid == pid) for pid in pids)
    assert (tcp.application_name, tcp.datname, tcp.usename) == ("holder-1", "app", "postgres")
    assert tcp.client_addr == "127.0.0.1"
    assert (unix.application_name, unix.client_addr) == ("local", "unix")
    assert unix.client_pid == os.getpid()


@looped
async def test_an_active_statement_counts_and_a_direct_session_does_not(
    postgres16, start_pgbouncer
):
    pooler = start_pgbouncer(SUITES[1], {"app": leads_to(postgres16)})
    with contextlib.ExitStack() as stack:
        direct = stack.enter_context(psycopg.connect(postgres16.dsn(), autocommit=True))
        own = begin(direct)
        sleeper = stack.enter_context(connected(pooler, 2))
        pid = one(sleeper, "select pg_backend_pid()")
        running = threading.Thread(target=quiet, args=(sleeper, "select pg_sleep(30)"), daemon=True)
        running.start()
        async with watched(postgres16, pooler) as (source, front):
            for _ in range(500):
                if len(held := await source.held()) == 2:
                    break
                await asyncio.sleep(0.02)
            attributed = await look_behind(source, [front], NOW)
        postgres16.psql(f"select pg_terminate_backend({pid})")
        running.join(10)
    assert {each.pid for each in held} == {own, pid}
    assert attributed is not None
    (found,) = attributed.found
    assert (found.pid, found.application_name, found.state) == (pid, "holder-2", "active")


def quiet(client, statement):
    with contextlib.suppress(psycopg.Error):
        client.execute(statement)


@looped
async def test_a_frozen_pooler_holds_up_no_poll(postgres16, start_pgbouncer):
    pooler = start_pgbouncer(SUITES[1], {"app": leads_to(postgres16)})
    with connected(pooler, 3) as holder:
        begin(holder)
        async with watched(postgres16, pooler) as (source, front):
            for _ in range(500):
                if await source.held():
                    break
                await asyncio.sleep(0.02)
            with frozen(pooler.pid):
                looking = asyncio.create_task(look_behind(source, [front], NOW))
                await asyncio.sleep(0)
                for _ in range(20):
                    await poll(source)
                assert not looking.done(), "it waits for the pooler, and the polls do not"
                attributed = await looking
    assert attributed is not None
    assert (attributed.found, attributed.silent) == ((), ("pgb",))


@looped
async def test_check_names_the_client(postgres16, start_pgbouncer):
    pooler = start_pgbouncer(SUITES[1], {"app": leads_to(postgres16)})
    entry = {"name": "prod", "dsn": postgres16.dsn()}
    front = {"name": "pgb", "server": "prod", "dsn": pooler.dsn()}
    with connected(pooler, 4) as holder:
        pid, began = begin(holder), time.monotonic()
        assert await asyncio.to_thread(eventually, lambda: time.monotonic() - began > 1.1)
        for addresses, expected in ((True, local(holder)), (False, ("", None))):
            server, _ = await check(
                Config.model_validate(
                    {"servers": [entry | {"client_addresses": addresses}], "poolers": [front]}
                )
            )
            (found,) = server.situation.behind
            assert (found.pid, found.application_name) == (pid, "holder-4")
            assert (found.client_addr, found.client_port) == expected


@looped
async def test_held_backends_on_every_version(postgres):
    """The same transaction gives the same start, to the microsecond, whenever it is read."""
    with psycopg.connect(postgres.dsn(application_name="holder")) as client:
        pid = one(client, "select pg_backend_pid()")
        async with reading(postgres) as source:
            await poll(source)
            for _ in range(500):
                if await source.held():
                    break
                await asyncio.sleep(0.02)
            (first,), (second,) = await source.held(), await source.held()
            assert first.transaction == second.transaction
            assert (first.pid, first.application_name, first.state) == (
                pid, "holder", "idle in transaction",
            )  # fmt: skip
            assert (first.datname, first.usename) == ("postgres", "postgres")
            assert first.client_port == one(client, "select inet_client_port()")
            client.rollback()
            client.execute("select 1")
            for _ in range(500):
                if found := await source.held():
                    break
                await asyncio.sleep(0.02)
            assert [each.pid for each in found] == [pid]
            assert found[0].transaction != first.transaction
        async with reading(postgres, client_addresses=False) as source:
            await poll(source)
            assert [each.client_addr for each in await source.held()] == [""]
