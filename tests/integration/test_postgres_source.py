"""What a poll sees on real servers: the right number, the right names, and when it may not look."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from exporter.config.server import Polling
from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.server import Reason, Snapshot
from exporter.snapshot.slots import Limits
from exporter.sources.grants import grants_sql
from tests.conftest import StartPostgres
from tests.support.postgres import (
    count,
    eventually,
    failure,
    groups,
    half_authenticated,
    poll,
    poll_until,
    reading,
    running,
    sessions,
    trusted_login,
)

SCRAM = [
    "host all postgres 127.0.0.1/32 trust",
    "host all all 127.0.0.1/32 scram-sha-256",
    "host replication all 127.0.0.1/32 scram-sha-256",
]


@contextlib.contextmanager
def wal_receiver(server: EmbeddedPostgres, directory: Path) -> Iterator[None]:
    command = [server.clients / "pg_receivewal", "-D", directory, "-d", server.dsn()]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def snapshot_of(server: EmbeddedPostgres, **options: object) -> Snapshot:
    async def once() -> Snapshot:
        async with reading(server, **options) as source:  # type: ignore[arg-type]
            return await poll(source)

    return asyncio.run(once())


def test_only_client_backends_are_counted(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    everything = {"parallel worker", "walsender", "checkpointer"}
    # Renamed in 16.
    parallel = "debug_parallel_query" if postgres.major >= 16 else "force_parallel_mode"

    def complete(snapshot: Snapshot) -> bool:
        return everything <= {group.backend_type for group in snapshot.activity.groups}

    async def run() -> None:
        async with reading(postgres) as source:
            alone = (await poll(source)).used
            with (
                sessions(postgres, 4, application_name="web") as held,
                wal_receiver(postgres, tmp_path),
                running(held[0], f"set {parallel} = on; select pg_sleep(60)"),
            ):
                snapshot = await poll_until(source, complete)
                assert snapshot.used == alone + 4
                assert count(snapshot, application_name="web", backend_type="client backend") == 4
                assert count(snapshot, application_name="pgheadroom", state="active") == 1

    asyncio.run(run())


def test_an_autovacuum_worker_is_seen_and_not_counted(start_postgres: StartPostgres) -> None:
    slow = {"autovacuum_vacuum_cost_delay": "100ms", "autovacuum_vacuum_cost_limit": 1}
    server = start_postgres(16, autovacuum_naptime=1, **slow)
    server.psql("create table t as select generate_series(1, 20000) n; delete from t")

    async def run() -> None:
        async with reading(server) as source:
            snapshot = await poll_until(
                source, lambda seen: count(seen, backend_type="autovacuum worker"), 30
            )
            assert snapshot.used == 1

    asyncio.run(run())


def test_18_shows_logins_under_way_and_they_hold_slots(start_postgres: StartPostgres) -> None:
    server = start_postgres(18, hba=SCRAM)
    server.psql("create role app login password 'x'")
    server.psql("create role copy login replication password 'x'")

    async def run() -> None:
        async with reading(server) as source:
            with (
                half_authenticated(server, 3, user="app"),
                half_authenticated(server, 1, user="copy", replication=True),
            ):
                snapshot = await poll_until(source, lambda seen: count(seen, state="starting") == 4)
                assert snapshot.used == 1 + 3
                (clients,) = groups(snapshot, state="starting", backend_type="client backend")
                assert (clients.backends, clients.usename, clients.datname) == (3, "", "")
                assert clients.client_addr == "127.0.0.1"
            await poll_until(source, lambda seen: seen.used == 1)

    asyncio.run(run())


@pytest.mark.pg(16)
def test_before_18_logins_under_way_are_in_no_view(start_postgres: StartPostgres) -> None:
    server = start_postgres(16, hba=SCRAM)
    server.psql("create role app login password 'x'")
    with half_authenticated(server, 3, user="app"):
        assert snapshot_of(server).used == 1


def test_facts_of_the_server(start_postgres: StartPostgres) -> None:
    server = start_postgres(
        18, max_connections=40, superuser_reserved_connections=4, reserved_connections=3
    )
    server.psql("create role few login connection limit 5; create role many login")
    server.psql("create database small connection limit 6")
    facts = snapshot_of(server, provider_reserved=2).facts
    assert facts.version == server.psql("show server_version").split()[0]
    assert facts.version_num // 10000 == 18
    assert facts.role == "primary"
    assert facts.limits == Limits(40, 4, 3, 2)
    assert facts.role_limits == {"few": 5}
    assert facts.database_limits == {"small": 6}
    assert facts.track_activities


def test_what_a_provider_holds_back_is_read_or_documented(postgres: EmbeddedPostgres) -> None:
    shown = 3

    def usable(**options: object) -> int:
        return snapshot_of(postgres, **options).facts.limits.usable

    assert usable() == 100 - shown
    assert usable(provider="azure") == 100 - 15
    assert usable(provider="neon") == 100 - 7
    assert usable(provider="neon", provider_reserved=1) == 100 - shown - 1
    assert usable(provider="supabase", provider_reserved=0) == 100 - shown
    # A server that shows none of RDS' settings, as it was before 16 with its documented default.
    assert usable(provider="rds") == 100 - shown - (2 if postgres.major < 16 else 0)
    names = ("rds.rds_superuser_reserved_connections", "rds.rds_reserved_connections")
    try:
        postgres.psql(f"alter database postgres set {names[1]} = 4")
        assert usable(provider="aurora") == 100 - shown - 4
        postgres.psql(f"alter database postgres set {names[0]} = 2")
        assert usable(provider="rds") == 100 - shown - 6
        assert usable(provider="rds", provider_reserved=3) == 100 - shown - 3
        assert usable() == 100 - shown
    finally:
        postgres.psql("; ".join(f"alter database postgres reset {name}" for name in names))


def test_a_standby_says_so(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)
    server.stop()
    (server.data_dir / "standby.signal").touch()
    server.start()
    assert snapshot_of(server).facts.role == "standby"


def test_the_silent_transaction_and_its_pid(postgres: EmbeddedPostgres) -> None:
    def idle(snapshot: Snapshot) -> bool:
        return count(snapshot, state="idle in transaction", application_name="etl") == 2

    async def run() -> None:
        async with reading(postgres) as source:
            with sessions(postgres, 2, application_name="etl") as (first, second):
                oldest_pid = first.info.backend_pid
                first.execute("begin")
                first.execute("select 1")
                await poll_until(source, lambda seen: first_age(seen) >= 0.05)
                second.execute("begin")
                before = await poll_until(source, idle)
                after = await poll_until(source, lambda seen: first_age(seen) >= 0.2)
            (group,) = groups(after, state="idle in transaction", application_name="etl")
            assert group.idle_in_transaction
            assert group.oldest_pid == oldest_pid
            assert group.transaction_age_seconds is not None
            assert group.transaction_age_seconds >= first_age(after) - 0.001
            assert group.query_age_seconds is None
            # Ages are by the server's clock: both grew by exactly what it says has passed.
            passed = after.activity.at - before.activity.at
            assert first_age(after) - first_age(before) == pytest.approx(passed, abs=0.002)

    def first_age(snapshot: Snapshot) -> float:
        found = groups(snapshot, state="idle in transaction", application_name="etl")
        return max((group.state_age_seconds or 0.0 for group in found), default=0.0)

    asyncio.run(run())


def test_a_statement_that_waits_for_a_lock_is_waiting(postgres: EmbeddedPostgres) -> None:
    postgres.psql("create table if not exists contended (n int)")

    def waits(snapshot: Snapshot) -> bool:
        return any(group.waiting for group in snapshot.activity.groups)

    async def run() -> None:
        async with reading(postgres) as source:
            assert not waits(await poll(source))
            with sessions(postgres, 3, application_name="lock") as (owner, waiter, idle):
                assert not idle.closed
                owner.execute("begin")
                owner.execute("lock table contended in access exclusive mode")
                with running(waiter, "select * from contended"):
                    snapshot = await poll_until(source, waits)
                    (group,) = [each for each in snapshot.activity.groups if each.waiting]
                    assert (group.wait_event_type, group.wait_event) == ("Lock", "relation")
                    assert (group.backends, group.oldest_pid) == (1, waiter.info.backend_pid)
                    assert group.query_age_seconds is not None

    asyncio.run(run())


def test_a_locked_catalog_holds_up_names_but_never_a_poll(
    start_postgres: StartPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_postgres(16)
    often = Polling(facts_interval=0.01, counters_interval=0.01)

    def failed_reads() -> set[tuple[str, str]]:
        records = [vars(each) for each in caplog.records if each.message == "slow read failed"]
        return {(record["read"], record["reason"]) for record in records}

    async def run() -> None:
        async with reading(server, polling=often) as source:
            before = await poll_until(source, lambda seen: count(seen, datname="postgres"))
            with sessions(server, 2, application_name="locker") as (locker, idle):
                assert not idle.closed
                locker.execute("begin")
                locker.execute("lock table pg_database in access exclusive mode")
                both = {("names", "late"), ("counters", "late")}
                snapshot = await poll_until(source, lambda _: failed_reads() == both)
                assert snapshot.used == before.used + 2
                assert count(snapshot, datname="postgres", application_name="locker") == 2
                assert snapshot.facts == before.facts
                locker.execute("rollback")
            await poll_until(source)

    asyncio.run(run())


def test_stale_sessions_are_those_idle_for_long(postgres: EmbeddedPostgres) -> None:
    def stale(snapshot: Snapshot) -> int:
        return sum(group.stale for group in groups(snapshot, application_name="frozen"))

    async def run() -> None:
        async with reading(postgres, stale_after=0.05) as source:
            with sessions(postgres, 3, application_name="frozen") as held:
                held[0].execute("begin")
                snapshot = await poll_until(source, lambda seen: stale(seen) == 2)
                assert count(snapshot, application_name="frozen") == 3
        async with reading(postgres) as source:
            with sessions(postgres, 3, application_name="frozen"):
                assert stale(await poll(source)) == 0

    asyncio.run(run())


def test_client_addresses_are_left_out_on_request(postgres: EmbeddedPostgres) -> None:
    shown = snapshot_of(postgres)
    hidden = snapshot_of(postgres, client_addresses=False)
    assert {group.client_addr for group in shown.activity.clients if group.usename} == {"127.0.0.1"}
    assert {group.client_addr for group in hidden.activity.groups} == {""}


@pytest.mark.pg(13)
def test_13_counts_no_sessions(postgres: EmbeddedPostgres) -> None:
    sessions = snapshot_of(postgres).sessions
    assert sessions is not None
    assert sessions.sessions is None
    assert ("postgres" in {name for _, name in sessions.numbackends}) is True


@pytest.mark.pg(14, 15, 16, 17, 18)
def test_sessions_are_counted(postgres: EmbeddedPostgres) -> None:
    async def run() -> None:
        async with reading(postgres, polling=Polling(counters_interval=0.01)) as source:
            first = (await poll(source)).sessions
            assert first is not None
            assert first.sessions is not None
            begun = first.sessions
            with sessions(postgres, 5):
                # A backend adds its numbers when its first statement, or the backend, ends.
                pass
            seen = await poll_until(
                source, lambda now: now.sessions and (now.sessions.sessions or 0) >= begun + 5
            )
            assert seen.sessions is not None
            datid = postgres.psql("select oid from pg_database where datname = 'postgres'")
            assert (datid, "postgres") in seen.sessions.numbackends

    asyncio.run(run())


def test_names_made_after_the_last_read_are_read_early(postgres: EmbeddedPostgres) -> None:
    now = [100.0]

    async def run() -> None:
        async with reading(postgres, clock=lambda: now[0]) as source:
            await poll(source)
            postgres.psql("create role newcomer login")
            with sessions(postgres, 1, user="newcomer"):
                oid = postgres.psql("select oid from pg_roles where rolname = 'newcomer'")
                now[0] += 9
                assert count(await poll(source), usename=f"(oid {oid})") == 1
                now[0] += 2
                assert count(await poll(source), usename="newcomer") == 1

    try:
        asyncio.run(run())
    finally:
        postgres.psql("drop role newcomer")


def test_names_in_another_encoding_are_shown_and_break_nothing(
    start_postgres: StartPostgres,
) -> None:
    server = start_postgres(16)
    server.psql("create database raw encoding 'SQL_ASCII' template template0 locale 'C'")
    with psycopg.connect(server.dsn(dbname="raw"), client_encoding="SQL_ASCII") as connection:
        connection.execute(b'create role "caf\xe9" login')
        connection.execute(b'create role "caf\xc3\xa9" login')

    async def run() -> None:
        async with reading(server) as source:
            with trusted_login(server, b"caf\xe9"), trusted_login(server, b"caf\xc3\xa9"):
                snapshot = await poll_until(source, lambda seen: seen.used == 3)
                assert count(snapshot, usename=r"caf\xe9") == 1
                assert count(snapshot, usename="café") == 1

    asyncio.run(run())


def test_without_the_privilege_nothing_looks_healthy(postgres: EmbeddedPostgres) -> None:
    postgres.psql('create role "Blind" login')
    try:

        async def run() -> None:
            async with reading(postgres, "Blind") as source:
                failed = await failure(source)
                assert failed.reason is Reason.UNPRIVILEGED
                inherit = " WITH INHERIT TRUE" if postgres.major >= 16 else ""
                assert failed.hint == f'GRANT pg_read_all_stats TO "Blind"{inherit};'
                assert "Blind" in failed.message
                postgres.psql(failed.hint)
                assert (await poll(source)).used >= 1
                postgres.psql('revoke pg_read_all_stats from "Blind"')
                assert (await failure(source)).reason is Reason.UNPRIVILEGED

        asyncio.run(run())
    finally:
        eventually(
            lambda: not postgres.psql("select 1 from pg_stat_activity where usename='Blind'")
        )
        postgres.psql('drop role "Blind"')


@pytest.mark.pg(16, 17, 18)
def test_the_hint_helps_a_role_that_does_not_inherit(postgres: EmbeddedPostgres) -> None:
    postgres.psql("create role aloof login noinherit; grant pg_read_all_stats to aloof")
    try:

        async def run() -> None:
            async with reading(postgres, "aloof") as source:
                postgres.psql((await failure(source)).hint)
                assert (await poll(source)).used >= 1

        asyncio.run(run())
    finally:
        postgres.psql("drop role aloof")


@pytest.mark.parametrize("role", ["pgheadroom", 'odd "$grant$" \'name'])
def test_the_grants_are_enough(postgres: EmbeddedPostgres, role: str) -> None:
    postgres.psql(grants_sql(role))
    try:

        async def run() -> None:
            async with reading(postgres, role) as source:
                snapshot = await poll(source)
                assert count(snapshot, usename=role) == 1
                assert snapshot.facts.role_limits[role] == 8

        asyncio.run(run())
        member = f"select pg_has_role('{role.replace(chr(39), chr(39) * 2)}', "
        if postgres.major >= 16:
            assert postgres.psql(member + "'pg_use_reserved_connections', 'usage')") == "t"
    finally:
        postgres.psql(f'drop role "{role.replace(chr(34), chr(34) * 2)}"')


EVIL = """
create schema evil; grant usage on schema evil to public;
create table evil.log (who text); grant insert on evil.log to public;
create function evil.minus(timestamptz, timestamptz) returns interval language plpgsql as $$ begin
  insert into evil.log values (current_user); return pg_catalog.timestamptz_mi($1, $2); end $$;
create operator evil.- (leftarg = timestamptz, rightarg = timestamptz, function = evil.minus);
alter database shop set search_path = evil, pg_catalog;
"""


def test_the_owner_of_the_database_gets_nothing_run_as_us(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)
    server.psql("create role eve login; create database shop owner eve")
    server.psql(EVIL, dbname="shop", user="eve")

    async def run() -> None:
        async with reading(server.dsn(dbname="shop")) as source:
            await poll(source)
            await source.held()

    asyncio.run(run())
    assert server.psql("select * from evil.log", dbname="shop") == ""


def test_a_table_of_tricks_in_public_changes_nothing(start_postgres: StartPostgres) -> None:
    server = start_postgres(18)
    server.psql("create function public.pg_stat_get_activity(int) returns int return 1")
    server.psql("create view public.pg_roles as select 1")
    server.psql("alter role postgres set search_path = public, pg_catalog")
    assert snapshot_of(server).used == 1
