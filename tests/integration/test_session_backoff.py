"""How long a session waits before it tries to log in again."""

from __future__ import annotations

import asyncio

import pytest

from exporter.demo.postgres import free_port
from exporter.snapshot.server import Reason
from exporter.sources.errors import SourceError
from exporter.sources.session import BACKOFF_FIRST_SECONDS, BACKOFF_LONGEST_SECONDS, Session


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


async def _welcome(_connection):
    """Nothing to set."""


async def refused(session, clock) -> tuple[Reason, float]:
    """Why the next attempt fails, and how long the session waits after it at most."""
    clock.now += 2 * BACKOFF_LONGEST_SECONDS
    with pytest.raises(SourceError) as caught:
        await session.ready()
    return caught.value.failure.reason, session._retry_at - clock.now


def test_another_answer_than_before_is_followed_up_quickly(start_postgres):
    server = start_postgres(16, hba=["host all all 127.0.0.1/32 reject"])

    async def run() -> None:
        clock = Clock()
        ports = {"port": str(free_port())}

        async def params() -> dict[str, str]:
            return {"host": "127.0.0.1", "user": "u", "dbname": "postgres", **ports}

        session = Session(
            "db",
            params,
            _welcome,
            connect_deadline=5.0,
            clock=clock,
        )
        for attempts in range(1, 6):
            reason, wait = await refused(session, clock)
            assert reason is Reason.NETWORK
            assert 0 <= wait <= BACKOFF_LONGEST_SECONDS
            assert session._attempts == attempts
        ports["port"] = str(server.port)
        reason, wait = await refused(session, clock)
        assert reason is Reason.AUTH
        assert 0 <= wait <= BACKOFF_FIRST_SECONDS
        assert session._attempts == 1

    asyncio.run(run())
