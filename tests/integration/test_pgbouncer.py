"""The console of real PgBouncers, 1.18, 1.24 and the newest, in front of a real Postgres."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from pathlib import Path

import psycopg
import pytest

from exporter.config.server import Polling
from exporter.snapshot.pool import ClientGroup
from exporter.snapshot.pooler import Waits, waiting_applications, worst
from exporter.snapshot.server import Reason
from exporter.sources.errors import SourceError
from tests.support.pgbouncer import NOW, SUITES, console, leads_to, looped, queued, refusal, seen
from tests.support.postgres import PROTOCOL_3, eventually, failure, reading

every_version = pytest.mark.parametrize("suite", SUITES)


@contextlib.contextmanager
def held(pooler, number, **options):
    """`number` clients with a transaction open: each keeps a server connection."""
    with pooler.clients(number, **options) as clients:
        for client in clients:
            client.execute("begin")
        yield clients


async def until(source, enough):
    """The first snapshot that is `enough`."""
    for _ in range(500):
        snapshot = await source.poll(NOW)
        if enough(snapshot):
            return snapshot
        await asyncio.sleep(0.01)
    raise AssertionError(f"not seen; the last was {snapshot}")


def at_worst(snapshot):
    """The pool that `worst` finds; there is one."""
    use = worst(snapshot)
    assert use is not None
    return use


def clients_of(snapshot):
    """Its clients against max_client_conn."""
    use = snapshot.client_use()
    assert use is not None
    return use


def open_files(pid):
    """The soft limit of a process."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    return int(limits.partition("Max open files")[2].split()[0])


def waiters(snapshot):
    return sum(pool.cl_waiting for pool in snapshot.pools)


@every_version
@looped
async def test_a_saturated_pool_and_who_waits_in_it(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16, pool_size=2)})
    with held(pooler, 2, application="checkout"), queued(pooler, 3, application="web"):
        async with console(pooler.dsn()) as source:
            snapshot = await until(source, lambda s: waiters(s) == 3)
            use = at_worst(snapshot)
            assert (use.used, use.limit, use.ratio) == (2, 2, 1.0)
            assert 0 < use.pool.wait_seconds < 30
            (web,) = waiting_applications(snapshot, ("app", "postgres"))
            assert (web.application_name, web.usename, web.datname, web.used) == (
                "web", "postgres", "app", 3,
            )  # fmt: skip
            assert snapshot.capacity(["app"]) == 2
            assert clients_of(snapshot).used == 6, "the console's own session takes up room too"
    assert [each.database for each in snapshot.pools] == ["app"]


@every_version
@looped
async def test_waits_are_made_of_differences(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16, pool_size=1)}, {"stats_period": 1})
    waits = Waits()
    async with console(pooler.dsn()) as source:
        with held(pooler, 1) as (holder,):
            waits.update(0.0, (await source.poll(NOW)).stats)
            with queued(pooler, 1):
                waited = await until(
                    source, lambda s: waiters(s) == 1 and at_worst(s).pool.wait_seconds > 0.2
                )
                assert waited
                holder.execute("commit")
                await until(source, lambda s: waiters(s) == 0)
                found = waits.update(10.0, (await source.poll(NOW)).stats)
    assert 0.05 < found["app"] < 5


@every_version
@looped
async def test_a_pause_of_one_database_and_of_all(suite, postgres16, start_pgbouncer):
    databases = {"a": leads_to(postgres16), "b": leads_to(postgres16)}
    pooler = start_pgbouncer(suite, databases)
    async with console(pooler.dsn()) as source:
        pooler.console("PAUSE a")
        assert (await source.poll(NOW)).paused() == {"a": True, "b": False}
        with pytest.raises(psycopg.Error):
            pooler.console("RESUME")  # pooler-paused.md: it ends no PAUSE of one database
        assert (await source.poll(NOW)).paused() == {"a": True, "b": False}
        pooler.console("RESUME a", "PAUSE")
        told = suite != "bookworm"  # SHOW STATE came with 1.19
        assert (await source.poll(NOW)).paused() == {"a": told, "b": told}
        pooler.console("RESUME")
        assert not any((await source.poll(NOW)).paused().values())


@every_version
@looped
async def test_limits_and_the_reserve(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(
        suite,
        {"app": leads_to(postgres16, pool_size=3, reserve_pool=2, max_db_connections=4)},
        {"max_user_connections": 10, "max_client_conn": 50},
    )
    with held(pooler, 2):
        snapshot = await seen(pooler.dsn())
    (use,) = snapshot.pool_use()
    assert (use.used, use.pool_size, use.reserve_pool_size) == (2, 3, 2)
    found = {each.limit: (each.used, each.most) for each in snapshot.limit_use()}
    assert found["database_connections"] == (2, 4)
    assert found["user_connections"] == (2, 10)
    assert clients_of(snapshot).most == 50
    assert snapshot.capacity(["app"]) == 4


@looped
async def test_a_users_own_limits_from_1_24_on(postgres16, start_pgbouncer):
    pooler = start_pgbouncer(
        "trixie",
        {"app": leads_to(postgres16, pool_size=20)},
        {"max_user_connections": 10},
        users={"postgres": "max_user_connections=3 pool_size=2"},
    )
    with held(pooler, 1):
        snapshot = await seen(pooler.dsn())
    assert [use.limit for use in snapshot.pool_use()] == [2]
    assert {each.limit: each.most for each in snapshot.limit_use()}["user_connections"] == 3


@every_version
@looped
async def test_the_console_is_seen_when_no_client_is_let_in(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16)}, {"max_client_conn": 5})
    async with console(pooler.dsn()) as source:
        await source.poll(NOW)
        with pooler.clients(4):
            snapshot = await until(source, lambda s: clients_of(s).ratio == 1)
            with pytest.raises(psycopg.OperationalError, match="max_client_conn"):
                psycopg.connect(pooler.dsn("app", "postgres"))
        assert snapshot.used_clients == 5


@every_version
@looped
async def test_clients_where_they_are_asked_for(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16)})
    with held(pooler, 2, application="web"):
        found = (await seen(pooler.dsn(), clients=True)).clients or ()
        assert ClientGroup("app", "postgres", "web", "active", 2) in found
        assert (await seen(pooler.dsn())).clients is None


@looped
async def test_a_restart_is_a_new_session_and_sums_that_fell(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("trixie", {"app": leads_to(postgres16)})
    waits = Waits()
    async with console(pooler.dsn()) as source:
        with pooler.clients(1) as (client,):
            for _ in range(5):
                client.execute("select 1")
        before = await until(source, lambda s: any(each.served == 5 for each in s.stats))
        waits.update(0.0, before.stats)
        pooler.restart()
        with pytest.raises(SourceError) as caught:
            await source.poll(NOW)
        assert caught.value.failure.reason is Reason.NETWORK
        after = await eventually_polled(source)
        assert waits.update(2.0, after.stats) == {}


async def eventually_polled(source):
    """The next good snapshot; the session backs off for a second or two."""
    for _ in range(500):
        try:
            return await source.poll(NOW)
        except SourceError:
            await asyncio.sleep(0.02)
    raise AssertionError("not seen again")


@looped
async def test_so_reuseport_by_tcp_and_by_unix_socket(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("sid", {"app": leads_to(postgres16)}, {"so_reuseport": 1})
    over_tcp = (await seen(pooler.dsn())).facts
    by_socket = (await seen(pooler.dsn(unix=True))).facts
    assert (over_tcp.so_reuseport, over_tcp.local) == (True, False)
    assert (by_socket.so_reuseport, by_socket.local) == (True, True)


@looped
async def test_a_frozen_pooler_is_late_and_seen_again(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("sid", {"app": leads_to(postgres16)})
    async with console(pooler.dsn(), Polling(deadline=0.2)) as source:
        await source.poll(NOW)
        os.kill(pooler.pid, signal.SIGSTOP)
        try:
            with pytest.raises(SourceError) as caught:
                await source.poll(NOW)
        finally:
            os.kill(pooler.pid, signal.SIGCONT)
        assert caught.value.failure.reason is Reason.LATE
        assert await eventually_polled(source)


@pytest.mark.parametrize(("unix"), [False, True])
@looped
async def test_a_session_that_is_not_allowed(unix, postgres16, start_pgbouncer):
    pooler = start_pgbouncer("bookworm", {"app": leads_to(postgres16)})
    found = await refusal(pooler.dsn(user="nobody", unix=unix))
    assert (found.reason, found.message) == (Reason.AUTH, "not allowed")
    assert "stats_users" in found.hint


@looped
async def test_a_dsn_of_another_kind(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("sid", {"app": leads_to(postgres16)})
    through = await refusal(pooler.dsn("app", "postgres"))
    direct = await refusal(postgres16.dsn())
    assert through.message == direct.message
    assert "leads to a Postgres server" in direct.message
    assert "/pgbouncer" in direct.hint
    missing = await refusal(f"host=127.0.0.1 port={postgres16.port} user=postgres")
    assert missing.hint == "that is a Postgres server: give the address of PgBouncer"
    async with reading(pooler.dsn(user="stats")) as source:
        swapped = await failure(source)
    assert swapped.reason is Reason.POOLED
    assert swapped.hint.startswith("list it under poolers")


@looped
async def test_the_probe_waits_as_a_client_of_the_pool_does(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("sid", {"app": leads_to(postgres16, pool_size=1)})
    probe = {"credentials": {"dsn": pooler.dsn("app", "postgres")}}
    options = {"name": "pgb", "probe": probe}
    async with console(pooler.dsn(), Polling(connect_deadline=0.3), **options) as source:
        free = await source.probe(NOW)
        assert (free.via, free.reason) == ("pgb", None)
        with held(pooler, 1) as (holder,):
            stuck = await source.probe(NOW)
            assert stuck.reason is Reason.LATE
            assert stuck.seconds >= 0.3
            longer = await source.probe(NOW)
            assert longer.seconds >= 0.6, "the same client goes on waiting"
            holder.execute("commit")
        assert eventually(lambda: not waiters_now(pooler))
        assert (await source.probe(NOW)).reason is None


def waiters_now(pooler):
    rows = pooler.console("SHOW POOLS")[0]
    return sum(int(row[3]) for row in rows if row[0] == "app")


@looped
async def test_the_probe_at_max_client_conn(postgres16, start_pgbouncer):
    pooler = start_pgbouncer("bookworm", {"app": leads_to(postgres16)}, {"max_client_conn": 3})
    probe = {"credentials": {"dsn": pooler.dsn("app", "postgres")}}
    with pooler.clients(3):
        async with console(pooler.dsn(), probe=probe) as source:
            found = await source.probe(NOW)
    assert found.reason is Reason.REFUSED
    assert "max_client_conn" in found.message


@every_version
@looped
async def test_names_in_no_encoding(suite, postgres16, start_pgbouncer):
    """A client may send any bytes as its name; they are shown, and break nothing."""
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16)})
    words = (b"user", b"postgres", b"database", b"app", b"application_name", b"caf\xe9", b"")
    body = b"\0".join(words) + b"\0"
    packet = struct.pack("!ii", len(body) + 8, PROTOCOL_3) + body
    with socket.create_connection(("127.0.0.1", pooler.port), 5) as line:
        line.sendall(packet)
        assert line.recv(1) == b"R"
        async with console(pooler.dsn(), clients=True) as source:
            snapshot = await until(source, lambda s: len(s.clients) == 2)
    assert "caf\\xe9" in {each.application_name for each in snapshot.clients}


@every_version
@looped
async def test_descriptors_are_seen_over_a_unix_socket_alone(suite, postgres16, start_pgbouncer):
    pooler = start_pgbouncer(suite, {"app": leads_to(postgres16)})
    local, distant = (await seen(pooler.dsn(unix=True))).facts, (await seen(pooler.dsn())).facts
    assert local.descriptors == open_files(pooler.pid)
    assert distant.descriptors is None
    assert local.settings == distant.settings
    assert local.settings["server_idle_timeout"] == "60"
