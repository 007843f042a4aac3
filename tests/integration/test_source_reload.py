"""A source that goes on with another configuration, over the session that it has."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from exporter.config.server import Polling, Server
from tests.support.postgres import poll, reading, watchers


async def shown(source, setting):
    """A setting of the kept session."""
    sql = f"select current_setting('{setting}')".encode()
    return (await source._session.fetch(sql, until=source._clock() + 2))[0][0]


@pytest.mark.pg(16)
def test_deadlines_and_what_is_read_change_and_the_session_stays(postgres):
    async def scenario():
        async with reading(postgres) as source:
            before = await poll(source)
            pids = watchers(postgres)
            assert await shown(source, "statement_timeout") == b"1500ms"
            server = Server.model_validate(
                {"name": "db", "dsn": SecretStr(postgres.dsn()), "provider_reserved": 5}
            )
            await source.adopt(server, Polling(deadline=4, connect_deadline=3))
            after = await poll(source)
            assert await shown(source, "statement_timeout") == b"3s"
            assert await shown(source, "lock_timeout") == b"500ms"
            assert before.facts.limits.usable - after.facts.limits.usable == 5
            assert source._session.connect_deadline == 3
            assert watchers(postgres) == pids

    asyncio.run(scenario())


@pytest.mark.pg(16)
def test_the_probe_takes_its_new_credentials(postgres):
    async def scenario():
        async with reading(postgres) as source:
            assert (await source.probe(0.0)).reason is None
            probe = {"credentials": {"dsn": postgres.dsn(user="nobody-of-that-name")}}
            server = Server.model_validate(
                {"name": "db", "dsn": SecretStr(postgres.dsn()), "probe": probe}
            )
            await source.adopt(server, Polling())
            assert (await source.probe(0.0)).reason == "auth"

    asyncio.run(scenario())
