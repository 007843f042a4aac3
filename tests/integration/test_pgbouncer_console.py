"""Consoles that no test can have for real: other products, broken commands, half of an answer."""

import pytest

from exporter.config.server import Polling
from exporter.snapshot.pool import Pool
from exporter.snapshot.server import Reason
from exporter.sources.errors import SourceError
from tests.support.consoles import WAIT, Answer, fake_console
from tests.support.pgbouncer import NOW, console, looped, refusal

POOLS = (("database", "user", "cl_waiting", "sv_active"), [(b"shop", b"app", b"3", b"2")])
CONFIG = (("key", "value"), [(b"max_client_conn", b"100")])
LISTS = (("list", "items"), [(b"used_clients", b"7")])


@looped
async def test_the_pools_alone_are_enough():
    async with fake_console({"SHOW POOLS": POOLS}) as dsn, console(dsn) as source:
        first = await source.poll(NOW)
        again = await source.poll(NOW)
    assert first.pools == again.pools == (Pool("shop", "app", cl_waiting=3, sv_active=2),)
    assert (first.databases, first.lists, first.stats, first.state) == ((), {}, (), {})
    assert first.pool_use() == ()
    assert first.client_use() is None
    assert first.paused() == {}
    assert first.facts.version == "1.24.1"


@looped
async def test_a_command_that_fails_is_said_once_and_the_rest_goes_on(caplog):
    answers: dict[str, Answer] = {"SHOW POOLS": POOLS, "SHOW CONFIG": CONFIG}
    answers |= {"SHOW LISTS": LISTS, "SHOW DATABASES": "out of memory"}
    async with fake_console(answers) as dsn, console(dsn) as source:
        for _ in range(3):
            snapshot = await source.poll(NOW)
    assert snapshot.used_clients == 7
    assert snapshot.facts.max_client_conn == 100
    assert snapshot.databases == ()
    (said,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (said.read, said.detail) == ("DATABASES", "out of memory")


@looped
async def test_columns_that_nobody_knows_and_values_that_are_none():
    odd = (
        ("brand_new", "user", "maxwait", "database", "cl_waiting", "sv_active", "maxwait_us"),
        [(b"x", b"app", None, b"caf\xe9", b"many", b"", b"5"), (None,) * 7],
    )
    async with fake_console({"SHOW POOLS": odd}) as dsn, console(dsn) as source:
        snapshot = await source.poll(NOW)
    assert snapshot.pools == (Pool("caf\\xe9", "app", maxwait_us=5), Pool("", ""))
    assert [pool.wait_seconds for pool in snapshot.pools] == [None, None]


@pytest.mark.parametrize(
    ("answers", "version", "message"),
    [
        (
            {"SHOW VERSION": (("version",), [(b"odyssey 1.5.2 release, compiled by gcc",)])},
            "1.5.2",
            "the DSN leads to odyssey 1.5.2 release, compiled by gcc, which is not PgBouncer",
        ),
        (
            {"SHOW VERSION": (("version",), [(b"PgCat 1.2.0",)])},
            "PgCat 1.2.0",
            "the DSN leads to PgCat 1.2.0, which is not PgBouncer",
        ),
        (
            {"SHOW VERSION": (("version",), [])},
            "9",
            "the DSN leads to something unknown, which is not PgBouncer",
        ),
        (
            {"SHOW VERSION": 'unrecognized configuration parameter "version"'},
            "16.4",
            "the DSN leads to a Postgres server, or through a pool to one, not to a console",
        ),
        ({"SHOW POOLS": "admin access needed"}, "1.24.1/bouncer", "admin access needed"),
    ],
)
@looped
async def test_what_is_no_console_is_named(answers, version, message):
    async with fake_console(answers, version) as dsn:
        assert (await refusal(dsn)).message == message


@pytest.mark.parametrize("command", ["SHOW POOLS", "SHOW STATE"])
@looped
async def test_a_line_that_is_cut_in_an_answer_is_a_failed_poll_and_a_new_session(command):
    state = (("key", "value"), [(b"paused", b"yes")])
    answers: dict[str, Answer] = {"SHOW POOLS": POOLS, "SHOW STATE": state}
    whole = answers[command]
    async with fake_console(answers) as dsn, console(dsn) as source:
        await source.poll(NOW)
        answers[command] = None
        with pytest.raises(SourceError) as caught:
            await source.poll(NOW)
        answers[command] = whole
        again = await source.poll(NOW)
    assert caught.value.failure.reason is Reason.NETWORK
    assert again.stopped


@looped
async def test_a_late_answer_is_stood_in_for_by_the_last_one():
    answers: dict[str, Answer] = {"SHOW POOLS": POOLS, "SHOW CONFIG": CONFIG, "SHOW LISTS": LISTS}
    late = Polling(deadline=0.3)
    async with fake_console(answers) as dsn, console(dsn, late) as source:
        first = await source.poll(NOW)
        answers["SHOW LISTS"] = WAIT
        second = await source.poll(NOW)
        assert (second.used_clients, second.stats) == (first.used_clients, ())
        answers["SHOW LISTS"] = LISTS
        assert (await source.poll(NOW)).used_clients == 7


@looped
async def test_clients_are_asked_only_while_some_wait():
    columns = ("database", "user", "application_name", "state")
    answers: dict[str, Answer] = {
        "SHOW POOLS": POOLS,
        "SHOW CLIENTS": (columns, [(b"shop", b"app", b"web", b"waiting")] * 3),
    }
    async with fake_console(answers) as dsn, console(dsn) as source:
        (group,) = (await source.poll(NOW)).clients or ()
        assert (group.application_name, group.clients) == ("web", 3)
        answers["SHOW CLIENTS"] = "asked too often"
        assert (await source.poll(NOW)).clients == (group,), "it is kept for ten seconds"
        answers["SHOW POOLS"] = (POOLS[0], [(b"shop", b"app", b"0", b"2")])
        assert (await source.poll(NOW)).clients is None
