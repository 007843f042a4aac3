"""`make bench-pooler`: what a poll costs a PgBouncer with 50 pools and 1,000 clients; a target.

CPU time is the kernel's count for PgBouncer's process, read before and after each poll. Exit
status 1 when the target is missed, 2 when the bench could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from statistics import median

import psycopg
from pydantic import SecretStr

from bench.procfs import cpu_model, cpu_ms
from bench.report import PAGE, Figure, markdown, revision, say, table, write
from exporter.config.alerting import Rules
from exporter.config.pooler import Pooler, PoolerThresholds
from exporter.config.server import Polling
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.pooler import PoolerState
from exporter.sources.pgbouncer import PgbouncerSource
from tests.support.debian import MissingError
from tests.support.pgbouncer import PgBouncer, leads_to

POOLS, CLIENTS, WAITING = 50, 1000, 40
TARGET_MS = 1.0
POLLS, QUICK_POLLS = 100, 15
#: Between two polls, so that each finds the caches as cold as an idle process has them.
PAUSE_SECONDS = 0.05
_SUITES = ("bookworm", "trixie", "sid")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _options(arguments)
    try:
        found = [_measure(suite, options.polls) for suite in options.suites]
    except (MissingError, PostgresError, psycopg.Error) as error:
        say("")
        print(f"bench: {error}", file=sys.stderr)
        return 2
    say("")
    figures = [figure for each in found for figure in each]
    print(table(figures))
    circumstances = [
        cpu_model(),
        f"{POOLS} pools of 2 connections in transaction mode, {CLIENTS} clients",
        f"{WAITING} of them waiting in 2 pools where it is said",
        f"revision {revision()}, `python bench/pooler.py`",
    ]
    if options.write:
        write(PAGE, markdown(figures, circumstances), "pooler")
    return 1 if any(figure.ok is False for figure in figures) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=list(_SUITES), choices=_SUITES)
    parser.add_argument("--quick", dest="polls", action="store_const", const=QUICK_POLLS)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.set_defaults(polls=POLLS)
    return parser.parse_args(arguments)


def _measure(suite: str, polls: int) -> list[Figure]:
    """The figures of one version."""
    say(f"starting PgBouncer of {suite} with {CLIENTS} clients")
    with EmbeddedPostgres(16, {"max_connections": 150}) as server:
        databases = {f"shop{n}": leads_to(server, pool_size=2) for n in range(POOLS)}
        settings = {"max_client_conn": CLIENTS + 100, "query_wait_timeout": 600}
        with PgBouncer(suite, databases, settings) as pooler, _clients(pooler) as clients:
            version = str(pooler.console("SHOW VERSION")[0][0][0])
            say(f"polling {version}")
            plain, own = asyncio.run(_costs(pooler, polls))
            with _queue(clients):
                waiting, _ = asyncio.run(_costs(pooler, polls))
            counted, _ = asyncio.run(_costs(pooler, polls, clients=True))
    return [
        Figure.below(f"{version}: CPU per poll", plain, TARGET_MS, "ms"),
        Figure.below(f"{version}: while clients wait", waiting, TARGET_MS, "ms"),
        Figure(f"{version}: with `clients: true`", "", f"{counted:.2f} ms"),
        Figure(f"{version}: own CPU per poll, rules included", "", f"{own:.1f} ms"),
    ]


@contextlib.contextmanager
def _clients(pooler: PgBouncer) -> Iterator[list[psycopg.Connection]]:
    """Clients of every pool, each of which has asked something once."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(CLIENTS):
            dsn = pooler.dsn(
                f"shop{number % POOLS}", "postgres", application_name=f"fn{number % 40}"
            )
            client = stack.enter_context(
                psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
            )
            client.execute("SELECT 1")
            found.append(client)
        yield found


@contextlib.contextmanager
def _queue(clients: Sequence[psycopg.Connection]) -> Iterator[None]:
    """Two clients of the first pool hold its connections, others wait for them."""
    first = clients[::POOLS]
    others = clients[1::POOLS]
    holders = [*first[:2], *others[:2]]
    for client in holders:
        client.execute("BEGIN")
    half = WAITING // 2
    queued = [*first[2:][:half], *others[2:][:half]]
    for client in queued:
        client.pgconn.send_query(b"SELECT 1")
        client.pgconn.flush()
    yield
    for client in holders:
        client.execute("ROLLBACK")
    for client in queued:
        while client.pgconn.get_result() is not None:
            pass


async def _costs(pooler: PgBouncer, polls: int, *, clients: bool = False) -> tuple[float, float]:
    """Medians of PgBouncer's CPU and of our own for one poll, in milliseconds."""
    configured = Pooler(name="pgb", dsn=SecretStr(pooler.dsn()), clients=clients)
    source = PgbouncerSource(configured, Polling())
    rules = RuleSet(load_rules(Rules())[0]).of_scope("server")
    thresholds = {name: float(v) for name, v in PoolerThresholds().model_dump().items()}
    state, caps = PoolerState("prod", "pgb", thresholds=thresholds), PoolerCaps()
    theirs, ours = [], []
    await source.poll(0.0)
    for _ in range(polls):
        await asyncio.sleep(PAUSE_SECONDS)
        before, own = cpu_ms(pooler.pid), time.process_time()
        snapshot = await source.poll(0.0)
        seen = PoolerState("prod", "pgb", snapshot, thresholds=state.thresholds)
        rules.evaluate(Index.of(pooler_families(seen, caps, 0.0)))
        theirs.append(cpu_ms(pooler.pid) - before)
        ours.append((time.process_time() - own) * 1000)
    await source.close()
    return median(theirs), median(ours)


if __name__ == "__main__":
    sys.exit(main())
