"""A thousand clients in a process of their own: connected, each with a last query, nearly all idle.

Run as `python bench/crowd.py PORT NUMBER MIX`; says `ready` when all are connected, and ends when
its standard input does. `mixed` is an ordinary fleet; `distinct` gives every client an address and
an application of its own, the most groups that so many backends can make.
"""

from __future__ import annotations

import asyncio
import sys
from typing import NamedTuple

from exporter.demo import wire
from exporter.demo.clients import Connection

DATABASES = ("shop", "billing", "analytics")
ROLES = ("app", "worker", "report")
APPLICATIONS = (
    *("shop-web", "checkout-lambda", "order-worker", "billing-api", "invoice-cron", "search-index"),
    *("auth-api", "mailer", "nightly-report", "admin", "metabase", ""),
)
ADDRESSES = 20
"""Hosts that the ordinary fleet comes from."""
AT_ONCE = 20
"""Logins under way; Postgres forks for each."""
#: 60 bytes, what pg_stat_activity shows as the last query of an idle backend.
QUERY = "select 1 /* select * from orders where customer_id = $1 ; */"
LOCK = "begin; select pg_advisory_lock(1)"
#: Of each hundred, mixed: the first holds the lock and the second waits for it in vain.
PERIOD, SLEEPING, IDLE_IN_TRANSACTION = 100, range(2, 6), range(6, 9)


class Client(NamedTuple):
    """How one client logs in, and the last that it says."""

    address: str
    parameters: dict[str, str]
    last: str
    waits: bool = False
    """Whether the answer never comes: the backend stays active."""


def mixed(number: int) -> Client:
    """Client `number` of an ordinary fleet."""
    parameters = {
        "user": ROLES[number % len(ROLES)],
        "database": DATABASES[number // 2 % len(DATABASES)],
        "application_name": APPLICATIONS[number % len(APPLICATIONS)],
    }
    address = f"127.0.1.{1 + number % ADDRESSES}"
    turn = number % PERIOD
    if number == 0:
        return Client(address, parameters | {"database": DATABASES[0]}, LOCK)
    if turn == 1:
        return Client(address, parameters | {"database": DATABASES[0]}, LOCK, waits=True)
    if turn in SLEEPING:
        return Client(address, parameters, "select pg_sleep(3600)", waits=True)
    if turn in IDLE_IN_TRANSACTION:
        return Client(address, parameters, f"begin; {QUERY}")
    return Client(address, parameters, QUERY)


def distinct(number: int) -> Client:
    """Client `number` of a fleet in which no two agree."""
    client = mixed(number)
    name = {"application_name": f"function-{number:04d}"}
    return client._replace(
        address=f"127.0.{2 + number // 250}.{1 + number % 250}", parameters=client.parameters | name
    )


class Visitor(Connection):
    """A connection from a chosen address of loopback."""

    async def log_in(self, parameters: dict[str, str]) -> None:
        """Send the startup packet and read the server's welcome."""
        await self._send(wire.startup(**parameters))


async def connect(port: int, client: Client) -> tuple[Visitor, asyncio.Task[None] | None]:
    """The client's connection after its last query, and the query where it does not return."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, local_addr=(client.address, 0)
    )
    visitor = Visitor(reader, writer)
    await visitor.log_in(client.parameters)
    if client.waits:
        return visitor, asyncio.create_task(visitor.query(client.last))
    await visitor.query(client.last)
    return visitor, None


async def hold(port: int, clients: list[Client]) -> None:
    """Connect them all, say so, and hold on until standard input ends."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(client: Client) -> tuple[Visitor, asyncio.Task[None] | None]:
        async with gate:
            return await connect(port, client)

    # The first takes the lock that others are to wait for.
    held = [await one(clients[0])]
    held += await asyncio.gather(*map(one, clients[1:]))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for visitor, pending in held:
        if pending is not None:
            pending.cancel()
        visitor.close()
    await asyncio.sleep(0)


def main() -> None:
    """See the module."""
    port, number, mix = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    make = distinct if mix == "distinct" else mixed
    asyncio.run(hold(port, [make(each) for each in range(number)]))


if __name__ == "__main__":
    main()
