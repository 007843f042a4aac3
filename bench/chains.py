"""Ways from a server to a person, for `bench/launch.py`: pgheadroom, and the usual stack."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from exporter.demo.postgres import EmbeddedPostgres
from exporter.demo.receiver import Receiver
from exporter.demo.watcher import Watcher, end, free_address

LEVELS = {"70 %": 0.70, "85 %": 0.85}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
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


def _get(url: str) -> object:
    with DIRECT.open(url, timeout=5) as answer:
        return json.loads(answer.read())


def _firing(url: str) -> set[str]:
    """What fires, of an API that is Prometheus' or like it."""
    answer = _get(f"{url}/api/v1/alerts")
    found = answer["data"]["alerts"] if isinstance(answer, dict) else []
    return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


@contextlib.contextmanager
def process(command: Sequence[str], log: Path, **environ: str) -> Iterator[None]:
    """`command` until the block ends, in the folder of its `log`."""
    with log.open("wb") as out, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        cwd=log.parent, env={"PATH": os.defpath, **environ},
    ) as running:  # fmt: skip
        try:
            yield
        finally:
            end(running)


@contextlib.contextmanager
def usual(folder: Path, target: str, interval: int, wait: int) -> Iterator[Chain]:
    """Prometheus every `interval` seconds, Alertmanager that waits for `wait`, and who is told."""
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
        # The example of Alertmanager's documentation, but for the wait: an alert is told so long
        # after its group began.
        route = {"receiver": "hook", "group_by": ["alertname"], "group_wait": f"{wait}s",
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
            process(["prometheus-alertmanager", "--config.file=alertmanager.yaml",
                      f"--storage.path={folder / 'am'}", f"--web.listen-address={manager}",
                      "--cluster.listen-address="], folder / "alertmanager.log"),
            process(["prometheus", "--config.file=prometheus.yaml",
                      f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={prom}"],
                     folder / "prometheus.log"),
        ):  # fmt: skip
            name = f"postgres_exporter, Prometheus {interval} s, group_wait {wait} s"
            yield Chain(name, lambda: _firing(f"http://{prom}"), lambda: dict(hook.told))


@contextlib.contextmanager
def ours(folder: Path, postgres: EmbeddedPostgres) -> Iterator[Chain]:
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
