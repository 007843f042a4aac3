"""Records what pgbench does to the number of connections, for the simulation to replay.

Each kind of traffic runs for `--minutes` against a Postgres of its own, and a kept session counts
the client backends every second, itself included. The result is `recorded.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg

from exporter.demo.binaries import environment
from exporter.demo.postgres import EmbeddedPostgres
from tools.simulation.days import RECORDING

EVERY_SECONDS = 1.0
#: The start of an application is not what is recorded.
SETTLE_SECONDS = 120.0
#: Connections that last 20 s on average, exponentially, and a statement at their end.
HOLD = "\\set ms random_exponential(1, 160000, 8)\n\\sleep :ms ms\nselect 1;\n"
#: One that serves a deployed instance for a minute.
DEPLOYED = "\\sleep 60 s\nselect 1;\n"
COUNT = "select count(*) from pg_stat_get_activity(null) where backend_type = 'client backend'"


class Bench:
    """Runs pgbench against one server, until the recording ends."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path, ending: threading.Event) -> None:
        self._postgres = postgres
        self._folder = folder
        self.ending = ending
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, script: str, *options: str) -> None:
        """Begin a run of `script`."""
        path = self._folder / f"{len(self._running)}.sql"
        path.write_text(script)
        where = ["-h", "127.0.0.1", "-p", str(self._postgres.port), "-U", "app", "-n", "-j", "1"]
        program = str(self._postgres.clients / "pgbench")
        command = [program, *where, "-f", str(path), *options, "postgres"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment())
        self._running.append(process)

    def churn(self, mean: int) -> None:
        """Connections that come at random and stay for a while, `mean` at a time."""
        self.start(HOLD, "-C", "-c", "94", "-R", str(mean / 20), "-T", "86400")

    def pause(self, seconds: float) -> bool:
        """Wait; whether the recording goes on."""
        return not self.ending.wait(seconds)

    def stop(self) -> None:
        """End what still runs."""
        for process in self._running:
            process.terminate()
            process.wait()


def _cron(bench: Bench) -> None:
    bench.churn(40)
    while bench.pause(300):
        bench.start("\\sleep 1 s\nselect 1;\n", "-c", "20", "-T", "10")


def _deploys(bench: Bench) -> None:
    bench.churn(40)
    while bench.pause(600):
        bench.start(DEPLOYED, "-C", "-c", "30", "-t", "1", "-R", "3")


def _load_tests(bench: Bench) -> None:
    while True:
        for clients in (10, 30, 50, 70):
            bench.start("select 1;\n", "-c", str(clients), "-R", "20", "-T", "60")
            if not bench.pause(120):
                return


class Traffic(NamedTuple):
    """One kind of traffic."""

    words: str
    run: Callable[[Bench], None]


TRAFFIC = {
    "a": Traffic("a new connection for each transaction, 40 at a time", lambda b: b.churn(40)),
    "b": Traffic("the same, 60 at a time", lambda b: b.churn(60)),
    "c": Traffic("a, and 20 clients for 10 s every 5 minutes", _cron),
    "d": Traffic("a, and every 10 minutes 30 more within 10 s, held for a minute", _deploys),
    "f": Traffic("10, 30, 50 and 70 clients by turns, a minute each, a minute apart", _load_tests),
}


def record(traffic: Traffic, seconds: float) -> list[int | None]:
    """The used slots at every second; None where the recorder itself came too late."""
    ending = threading.Event()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="traffic-")))
        postgres = stack.enter_context(EmbeddedPostgres(16, {"max_connections": 100}))
        postgres.psql("create role app login")
        session = stack.enter_context(psycopg.connect(postgres.dsn(), autocommit=True))
        bench = Bench(postgres, folder, ending)
        stack.callback(bench.stop)
        running = threading.Thread(target=traffic.run, args=(bench,))
        running.start()
        stack.callback(running.join)
        stack.callback(ending.set)
        time.sleep(SETTLE_SECONDS)
        return _counts(session, seconds)


def _counts(session: psycopg.Connection[tuple[object, ...]], seconds: float) -> list[int | None]:
    began, counts = time.monotonic(), list[int | None]()
    for turn in range(int(seconds / EVERY_SECONDS)):
        due = began + turn * EVERY_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        row = session.execute(COUNT).fetchone()
        late = time.monotonic() - due > EVERY_SECONDS / 2
        counts.append(None if late or row is None else int(str(row[0])))
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Record all kinds side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=100.0)
    parser.add_argument("--to", type=Path, default=RECORDING)
    options = parser.parse_args(arguments)
    found: dict[str, list[int | None]] = {}

    def one(letter: str) -> None:
        found[letter] = record(TRAFFIC[letter], options.minutes * 60)

    threads = [threading.Thread(target=one, args=(letter,)) for letter in TRAFFIC]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = {
        "recorded": datetime.now(UTC).date().isoformat(),
        "by": "tools/simulation/record.py: pgbench and Postgres 16, max_connections=100",
        "every_seconds": EVERY_SECONDS,
        "traffic": {
            letter: {"words": TRAFFIC[letter].words, "used": found[letter]} for letter in TRAFFIC
        },
    }
    options.to.write_text(json.dumps(document, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
