"""`make bench-launch`: who pages before the first refused client, pgheadroom or the usual stack.

On one Postgres, through one ramp, side by side: pgheadroom as it comes, and postgres_exporter
with a Prometheus that scrapes and evaluates every 15 s, another every 5 s, and an Alertmanager with
the defaults of its documentation behind each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from bench import peer as peers
from bench.report import PAGE, revision, write
from exporter.demo.clients import Launch
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from exporter.demo.receiver import Receiver
from exporter.demo.watcher import Watcher, WatcherError, free_address

MAX_CONNECTIONS, USABLE = 100, 97
CALM_SECONDS, AFTER_SECONDS = 20.0, 120.0
#: (clients at the beginning, clients at the end, seconds between).
RAMPS = ((8, 240, 90.0), (40, 240, 300.0), (40, 240, 900.0))
INTERVALS = (15, 5)
LEVELS = {"70 %": 0.70, "85 %": 0.85}
_LOOK_SECONDS, _STOP_SECONDS = 0.2, 10.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_OURS = {"70 %": "PostgresConnectionsHigh", "85 %": "PostgresConnectionsCritical"}


class Hook:
    """Where an Alertmanager posts: notes when each alert was first told of, by the steady clock."""

    def __init__(self) -> None:
        self.told: dict[str, float] = {}
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                at = time.monotonic()
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                for alert in json.loads(body)["alerts"]:
                    told.setdefault(alert["labels"]["alertname"], at)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    @contextlib.contextmanager
    def open(self) -> Iterator[Hook]:
        """Listening, until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@dataclass
class Chain:
    """One way from the server to a person: when its alerts fired, and when somebody was told."""

    name: str
    alerts: Callable[[], set[str]]
    """The names of the alerts that fire now."""
    told: Callable[[], dict[str, float]]
    fired: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Note what fires for the first time."""
        with contextlib.suppress(OSError, ValueError):
            for name in self.alerts():
                self.fired.setdefault(name, time.monotonic())


@dataclass(frozen=True)
class Row:
    """Seconds after the crossing of each level, and the page's lead over the first refusal."""

    ramp: str
    chain: str
    refused_after: float
    fired: dict[str, float | None]
    told: dict[str, float | None]
    lead: float | None


def _get(url: str) -> object:
    with _DIRECT.open(url, timeout=5) as answer:
        return json.loads(answer.read())


def _firing(url: str) -> set[str]:
    """What fires, of an API that is Prometheus' or like it."""
    answer = _get(f"{url}/api/v1/alerts")
    found = answer["data"]["alerts"] if isinstance(answer, dict) else []
    return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path, **environ: str) -> Iterator[None]:
    with log.open("wb") as out, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        cwd=log.parent, env={"PATH": os.defpath, **environ},
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def _usual(folder: Path, target: str, interval: int) -> Iterator[Chain]:
    """Prometheus every `interval` seconds, Alertmanager as documented, and who is told."""
    folder.mkdir()
    prom, manager = free_address(), free_address()
    rules = [
        {
            "alert": level,
            "expr": "sum by (instance) (pg_stat_activity_count) / on (instance)"
            f" pg_settings_max_connections > {value}",
        }
        for level, value in LEVELS.items()
    ]
    with Hook().open() as hook:
        # The example of Alertmanager's documentation; an alert is told 30 s after its group began.
        route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": "30s",
                 "group_interval": "5m", "repeat_interval": "4h"}  # fmt: skip
        receiver = {"name": "hook", "webhook_configs": [{"url": hook.url}]}
        files = {
            "rules.yaml": {"groups": [{"name": "g", "rules": rules}]},
            "alertmanager.yaml": {"route": route, "receivers": [receiver]},
            "prometheus.yaml": {
                "global": {
                    "scrape_interval": f"{interval}s",
                    "evaluation_interval": f"{interval}s",
                },
                "rule_files": ["rules.yaml"],
                "scrape_configs": [{"job_name": "pg", "static_configs": [{"targets": [target]}]}],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager]}]}]},
            },
        }
        for name, document in files.items():
            (folder / name).write_text(yaml.safe_dump(document))
        with (
            _process(["prometheus-alertmanager", "--config.file=alertmanager.yaml",
                      f"--storage.path={folder / 'am'}", f"--web.listen-address={manager}",
                      "--cluster.listen-address="], folder / "alertmanager.log"),
            _process(["prometheus", "--config.file=prometheus.yaml",
                      f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={prom}"],
                     folder / "prometheus.log"),
        ):  # fmt: skip
            name = f"postgres_exporter, Prometheus {interval} s, Alertmanager"
            yield Chain(name, lambda: _firing(f"http://{prom}"), lambda: dict(hook.told))


@contextlib.contextmanager
def _ours(folder: Path, postgres: EmbeddedPostgres) -> Iterator[Chain]:
    """The installed command as it comes; a page tells of both levels, and the forecast's too."""
    folder.mkdir()
    with Receiver() as receiver:
        document = {
            "servers": [{"name": "shop", "dsn": postgres.dsn("pgheadroom"),
                         "probe": {"credentials": {"dsn": postgres.dsn("app")}}}],
            "receivers": [
                {"name": "slack", "type": "slack", "webhook_url": receiver.slack_url},
                {"name": "pagerduty", "type": "pagerduty", "routing_key": "k" * 32,
                 "url": receiver.pagerduty_url},
            ],
        }  # fmt: skip

        def told() -> dict[str, float]:
            """The first message of each kind: a warning is told in Slack, the rest by page."""
            found: dict[str, float] = {}
            for message in receiver.messages:
                level = "85 %" if message.is_page else "70 %"
                found.setdefault(level, message.at)
            return found

        def firing() -> set[str]:
            names = {name: level for level, name in _OURS.items()}
            return {names.get(name, name) for name in _firing(watcher.url)}

        watcher = Watcher(yaml.safe_dump(document), folder, free_address())
        with watcher:
            watcher.wait_until_ready()
            yield Chain("pgheadroom", firing, told)


async def _replay(launch: Launch, chains: Sequence[Chain]) -> None:
    """A calm while, the ramp, and as long after the first refusal as the slowest may need."""
    ending = asyncio.Event()

    async def look() -> None:
        while not ending.is_set():
            await asyncio.gather(*(asyncio.to_thread(each.look) for each in chains))
            await asyncio.sleep(_LOOK_SECONDS)

    looking = asyncio.create_task(look())
    await launch.open(30)
    await asyncio.sleep(CALM_SECONDS)
    ramp = asyncio.create_task(launch.ramp())
    await launch.refused()
    await asyncio.sleep(AFTER_SECONDS)
    ending.set()
    await looking
    ramp.cancel()
    await launch.close()


def measure(ramp: tuple[int, int, float], speed: float) -> list[Row]:
    """One ramp under all chains.

    Raises:
        PostgresError, PeerError, WatcherError: a part cannot be had or does not come up.
    """
    start, end, seconds = ramp
    settings = {"max_connections": MAX_CONNECTIONS}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-launch-")))
        postgres = stack.enter_context(EmbeddedPostgres(16, settings))
        postgres.psql("".join(
            f"create role {role} login;" for role in ("pgheadroom", "peer", "app")
        ) + "grant pg_monitor to pgheadroom, peer;")  # fmt: skip
        target = free_address()
        exporter = [str(peers.postgres_exporter()), f"--web.listen-address={target}"]
        log, dsn = folder / "exporter.log", postgres.dsn("peer", sslmode="disable")
        stack.enter_context(_process(exporter, log, DATA_SOURCE_NAME=dsn))
        chains = [stack.enter_context(_ours(folder / "own", postgres))]
        chains += [
            stack.enter_context(_usual(folder / f"every{each}", target, each)) for each in INTERVALS
        ]
        _wait_until_seen(target)
        launch = Launch("127.0.0.1", postgres.port, start, end, seconds / speed)
        asyncio.run(_replay(launch, chains))
        return [_row(f"{start} to {end} in {seconds / speed:.0f} s", launch, c) for c in chains]


def _wait_until_seen(target: str) -> None:
    """Return once the exporter counts sessions: a peer that sees nothing would be no comparison."""
    until = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), _DIRECT.open(f"http://{target}/metrics") as answer:
            if b"\npg_stat_activity_count{" in answer.read():
                return
        time.sleep(_LOOK_SECONDS)
    raise peers.PeerError("postgres_exporter cannot see the server")


def _row(ramp: str, launch: Launch, chain: Chain) -> Row:
    refusal, began = launch.first_refusal, launch.began
    if refusal is None or began is None:
        raise PostgresError("no client was refused: the ramp is too low for these slots")
    told = chain.told()
    crossed = {level: _crossed(launch, value) for level, value in LEVELS.items()}
    first = min(told.values(), default=None)
    return Row(
        ramp,
        chain.name,
        refusal.at - began,
        {level: _after(chain.fired.get(level), at) for level, at in crossed.items()},
        {level: _after(told.get(level), at) for level, at in crossed.items()},
        None if first is None else refusal.at - first,
    )


def _crossed(launch: Launch, level: float) -> float:
    """When the clients, and the one session that watches, first held that share of the slots."""
    return next(at for at, held in launch.curve if held + 1 >= level * USABLE)


def _after(at: float | None, crossed: float) -> float | None:
    return None if at is None else at - crossed


def markdown(rows: Sequence[Row]) -> str:
    """The table for docs/performance.md."""
    head = (
        "| ramp, first refusal | who | 70 %: fires | told | 85 %: fires | told | before refusal |"
    )
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [_cell(each[level]) for level in LEVELS for each in (row.fired, row.told)]
        ramp = f"{row.ramp}, {row.refused_after:.1f} s"
        lines.append(f"| {ramp} | {row.chain} | {' | '.join(cells)} | {_cell(row.lead)} |")
    load = os.getloadavg()[0]
    return "\n".join([*lines, "", f"- {os.cpu_count()} cores, load average {load:.1f}",
                      f"- revision {revision()}"])  # fmt: skip


def _cell(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:+.1f} s"


def main() -> int:
    """Measure, print, and with `--write` put the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=float, default=1.0, help="ramps this many times shorter")
    parser.add_argument("--only", type=int, choices=range(len(RAMPS)), help="one ramp, from 0")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    ramps = RAMPS if options.only is None else (RAMPS[options.only],)
    rows: list[Row] = []
    try:
        for ramp in ramps:
            print(
                f"{ramp[0]} to {ramp[1]} clients in {ramp[2] / options.speed:.0f} s …", flush=True
            )
            rows += measure(ramp, options.speed)
    except (PostgresError, peers.PeerError, WatcherError, OSError, TimeoutError) as error:
        print(f"bench-launch: {error}", file=sys.stderr)
        return 2
    text = markdown(rows)
    print(text)
    if options.write:
        write(PAGE, text, "bench-launch")
    ours = [row for row in rows if row.chain == "pgheadroom"]
    return 0 if all(row.lead is not None and row.lead > 0 for row in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
