"""The SQL of the runbooks, on real servers in the trouble that it is for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from exporter.demo.postgres import EmbeddedPostgres
from exporter.snapshot.server import Reason
from exporter.sources.grants import grants_sql
from tests.support.pages import ROOT, blocks
from tests.support.postgres import eventually, failure, poll, reading, running, sessions

#: More than the ten rows that the statement shows.
QUEUE = 25
Rows = list[tuple[object, ...]]


def statement(page: str, *words: str) -> str:
    """The one block of SQL of the runbook `page` that has all of `words`."""
    found = blocks(ROOT / "docs" / "runbooks" / f"{page}.md", "sql")
    (block,) = [each for each in found if all(word in each for word in words)]
    return block


def rows(connection: psycopg.Connection, sql: str) -> Rows:
    """What `sql` answers within two seconds."""
    connection.execute("set statement_timeout = '2s'")
    return connection.execute(sql.encode()).fetchall()


def asked(server: EmbeddedPostgres, user: str, sql: str) -> Rows:
    with psycopg.connect(server.dsn(user), autocommit=True) as connection:
        return rows(connection, sql)


@pytest.fixture
def people(postgres: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A server with an application, pgheadroom's role, and the role for people of the runbook."""
    people = statement("nobody-can-log-in", "CREATE ROLE oncall")
    if postgres.major < 16:
        people = people.replace(", pg_use_reserved_connections", "")
    postgres.psql(f"create role app login; {grants_sql()} {people}")
    yield postgres
    postgres.psql("drop role app; drop role pgheadroom; drop role oncall")


def test_a_role_that_does_not_inherit_is_made_to(postgres: EmbeddedPostgres) -> None:
    words = ("WITH INHERIT",) if postgres.major >= 16 else ("ALTER ROLE",)
    postgres.psql("create role pgheadroom login noinherit; grant pg_read_all_stats to pgheadroom")
    look = statement("server-unprivileged", "sees_all")

    async def run() -> None:
        async with reading(postgres, "pgheadroom") as source:
            assert (await failure(source)).reason is Reason.UNPRIVILEGED
            assert asked(postgres, "postgres", look) == [("pgheadroom", True, False)]
            postgres.psql(statement("server-unprivileged", *words))
            assert asked(postgres, "postgres", look) == [("pgheadroom", True, True)]
            assert (await poll(source)).used >= 1

    try:
        asyncio.run(run())
    finally:
        postgres.psql("drop role pgheadroom")


def waiting(server: EmbeddedPostgres) -> int:
    return int(server.psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"))


def test_the_head_of_a_long_queue_is_the_first_row(people: EmbeddedPostgres) -> None:
    people.psql("create table hot as select 0 as n")
    with sessions(people, QUEUE + 1) as (holder, *waiters), contextlib.ExitStack() as stack:
        holder.execute("begin; update hot set n = 1")
        for waiter in waiters:
            stack.enter_context(running(waiter, "update hot set n = 2"))
        assert eventually(lambda: waiting(people) == QUEUE)
        found = asked(people, "pgheadroom", statement("backends-waiting", "blocking"))
        assert len(found) == 10
        assert found[0][0] == holder.info.backend_pid
    people.psql("drop table hot")


@pytest.mark.parametrize(
    ("page", "words", "shown", "real"),
    [
        ("nobody-can-log-in", "application_name = ", "the holder", "checkout"),
        ("connections-high", "pg_terminate_backend", "10 minutes", "0 minutes"),
    ],
)
def test_backends_are_ended_by_whoever_may(
    people: EmbeddedPostgres, page: str, words: str, shown: str, real: str
) -> None:
    end = statement(page, words, "pg_terminate_backend").replace(shown, real)
    with (
        sessions(people, 1, application_name="checkout") as (superuser,),
        sessions(people, 2, user="app", application_name="checkout"),
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            asked(people, "pgheadroom", end)
        assert asked(people, "oncall", end) == [(True,), (True,)]
        assert superuser.execute("select 1").fetchall() == [(1,)]


def test_a_limit_is_held_against_client_backends(people: EmbeddedPostgres) -> None:
    people.psql("alter role app connection limit 5; create database limited connection limit 7")
    parallel = "debug_parallel_query" if people.major >= 16 else "force_parallel_mode"
    sql = f"set {parallel} = on; select pg_sleep(60)"
    workers = "select count(*) from pg_stat_activity where backend_type = 'parallel worker'"
    with (
        sessions(people, 2, user="app", dbname="limited") as (busy, _),
        running(busy, sql),
    ):
        assert eventually(lambda: people.psql(workers) == "1")
        roles = asked(people, "pgheadroom", statement("connection-limits", "rolconnlimit"))
        databases = asked(people, "pgheadroom", statement("connection-limits", "datconnlimit"))
    assert ("app", 5, 2) in roles
    assert ("limited", 7, 2) in databases
    people.psql("drop database limited")


@pytest.mark.parametrize("catalog", ["pg_database", "pg_authid"])
def test_who_has_locked_a_catalog_is_told_to_an_open_session(
    people: EmbeddedPostgres, catalog: str
) -> None:
    look = statement("connect-probe-failing", "pg_locks")
    with sessions(people, 1) as (holder,), sessions(people, 1, user="pgheadroom") as (seeing,):
        holder.execute(f"begin; lock table {catalog} in access exclusive mode")
        locked = (holder.info.backend_pid, "AccessExclusiveLock", True)
        assert rows(seeing, look) == [locked]
        with pytest.raises(errors.QueryCanceled):
            rows(seeing, "select * from pg_stat_activity")
        holder.execute("rollback")
