"""One Postgres, the installed command, its receivers and a launch, each step in real time."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo.clients import Launch
from exporter.demo.postgres import EmbeddedPostgres
from exporter.demo.receiver import Received, Receiver
from exporter.demo.watcher import Watcher, free_address

USABLE = 97
TRUTH = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
Samples = dict[str, list[tuple[dict[str, str], float]]]


def parsed(text: str) -> Samples:
    """Samples of an exposition by name."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


class Truth:
    """What Postgres itself counts, read twenty times a second by a superuser."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._times: list[float] = []
        self._counts: list[int] = []
        self._stop = threading.Event()
        self._connection = psycopg.connect(server.dsn(), autocommit=True, application_name="truth")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            before = time.time()
            row = self._connection.execute(TRUTH).fetchone()
            assert row is not None
            self._times.append((before + time.time()) / 2)
            self._counts.append(row[0])

    def between(self, begin: float, end: float, seconds: float = 0.25) -> tuple[int, int]:
        """The least and the highest count from `begin` to `end`, and within `seconds` of them."""
        low = max(0, bisect.bisect_left(self._times, begin - seconds) - 1)
        high = bisect.bisect_right(self._times, end + seconds) + 1
        counts = self._counts[low:high]
        assert counts, "nobody counted at that time"
        return min(counts), max(counts)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()


@dataclass
class Scrape:
    """One reading of /metrics, asked for and answered at wall times."""

    asked_at: float
    at: float
    samples: Samples

    @property
    def polled(self) -> tuple[float, float]:
        """Between when and when the server was counted: a busy machine takes its time."""
        age = self.value("pgheadroom_snapshot_age_seconds")
        took = self.value("pgheadroom_poll_duration_seconds")
        return self.asked_at - age, self.at - age + took

    def value(self, name: str, **labels: str) -> float:
        return sum(v for own, v in self.samples.get(name, []) if labels.items() <= own.items())


@dataclass
class Day:
    """One server with its watcher; `launch` is the storm."""

    server: EmbeddedPostgres
    receiver: Receiver
    watcher: Watcher
    launch: Launch
    truth: Truth
    scrapes: list[Scrape] = field(default_factory=list)
    ramp: asyncio.Task[None] | None = None

    def begin_ramp(self) -> None:
        """8 to 240 in 90 s; it goes on behind the first refusal, as it did on the day."""
        self.ramp = asyncio.create_task(self.launch.ramp())

    async def end_launch(self) -> None:
        if self.ramp is not None:
            self.ramp.cancel()
        await self.launch.close()

    def scrape(self) -> Scrape:
        asked_at = time.time()
        text = self.watcher.get("/metrics")
        found = Scrape(asked_at, time.time(), parsed(text))
        self.scrapes.append(found)
        return found

    async def scraping(self) -> None:
        """Read /metrics once a second until cancelled."""
        while True:
            await asyncio.to_thread(self.scrape)
            await asyncio.sleep(1.0)

    async def watch(self, seconds: float) -> list[Scrape]:
        """The scrapes of the next `seconds`."""
        already = len(self.scrapes)
        task = asyncio.create_task(self.scraping())
        await asyncio.sleep(seconds)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return self.scrapes[already:]

    def told(self, receiver: str) -> list[Received]:
        return [each for each in self.receiver.messages if each.receiver == receiver]

    def events(self, action: str) -> list[dict[str, Any]]:
        """PagerDuty events of one action."""
        payloads = [each.payload for each in self.told("pagerduty")]
        return [payload for payload in payloads if payload["event_action"] == action]


async def eventually(look: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true value of `look`; an assertion error after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := await asyncio.to_thread(look):
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"not seen within {seconds:g} s: {what}")


def configuration(day_dsn: str, probe_dsn: str, receiver: Receiver, **changes: object) -> str:
    """As an operator writes it; every interval is the default unless changed."""
    return yaml.safe_dump(
        {
            "install_id": "launch-test",
            "servers": [
                {"name": "shop", "dsn": day_dsn, "probe": {"credentials": {"dsn": probe_dsn}}}
            ],
            "receivers": [
                {"name": "slack", "type": "slack", "webhook_url": receiver.slack_url},
                {
                    "name": "pagerduty",
                    "type": "pagerduty",
                    "routing_key": "k" * 32,
                    "url": receiver.pagerduty_url,
                },
            ],
        }
        | changes
    )


@contextlib.contextmanager
def parallel_query(server: EmbeddedPostgres) -> Iterator[None]:
    """A statement with a parallel worker, for as long as the block lasts."""
    with psycopg.connect(server.dsn(application_name="report"), autocommit=True) as connection:

        def run() -> None:
            with contextlib.suppress(psycopg.Error):
                connection.execute("set debug_parallel_query = on; select pg_sleep(600)")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            connection.cancel_safe(timeout=5)
            thread.join(5)


@contextlib.contextmanager
def wal_receiver(server: EmbeddedPostgres, folder: Path) -> Iterator[None]:
    """A physical walsender, for as long as the block lasts."""
    command = [str(server.clients / "pg_receivewal"), "-D", str(folder), "-d", server.dsn()]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def launch_day(
    server: EmbeddedPostgres, installed: Sequence[str], folder: Path, **changes: object
) -> AsyncIterator[Day]:
    """`server` with eight clients, and the installed command, ready when the block begins."""
    server.psql(
        "create role pgheadroom login connection limit 8; create role app login;"
        "grant pg_read_all_stats to pgheadroom"
    )
    (folder / "wal").mkdir()
    launch, truth = Launch("127.0.0.1", server.port), Truth(server)
    await launch.open()
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(Receiver())
        stack.enter_context(parallel_query(server))
        stack.enter_context(wal_receiver(server, folder / "wal"))
        text = configuration(server.dsn("pgheadroom"), server.dsn("app"), receiver, **changes)
        watcher = Watcher(text, folder, free_address(), installed)
        with watcher:
            await asyncio.to_thread(watcher.wait_until_ready)
            day = Day(server, receiver, watcher, launch, truth)
            try:
                yield day
            finally:
                await day.end_launch()
                await asyncio.to_thread(truth.close)
