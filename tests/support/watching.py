"""The installed command beside real servers and local receivers, and what can be seen of it.

Intervals are short and durations of rules a tenth, so that what takes minutes takes seconds here.
Deadlines of a session (three misses and 10 s) are not configurable and stay as they are.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.config.base import duration_seconds
from exporter.demo.postgres import EmbeddedPostgres
from exporter.demo.watcher import child_environment, free_address
from exporter.rules.load import shipped_rule_texts
from exporter.sources.grants import grants_sql
from tests.support.receivers import PAGERDUTY_OK, HttpReceiver, Received, eventually

COMMAND = Path(sys.executable).with_name("pgheadroom")
#: The reachability rules compare with seconds in their expressions, where no override reaches.
_FAILING = re.compile(r"(pgheadroom_poll_failing_seconds >=? )(\d+)")
KEEP_FIRING_SECONDS = 0.5
POLLING = {
    "interval": 0.2,
    "busy_interval": 0.1,
    "deadline": 0.4,
    "connect_deadline": 1.0,
    "counters_interval": 1.0,
    "facts_interval": 1.0,
    "probe_interval": 1.0,
    "probe_busy_interval": 0.5,
}
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Event:
    """What PagerDuty is told, and when by the steady clock."""

    at: float
    action: str
    server: str
    family: str
    severity: str
    incident: str
    dedup_key: str
    summary: str
    made: datetime


def event(request: Received) -> Event:
    told = request.json
    payload = told["payload"]
    return Event(
        request.at,
        told["event_action"],
        payload["source"],
        payload["group"],
        payload["severity"],
        payload["custom_details"]["incident"],
        told["dedup_key"],
        payload["summary"],
        datetime.fromisoformat(payload["timestamp"]),
    )


def events(receiver: HttpReceiver, server: str = "", family: str = "") -> list[Event]:
    """What `receiver`, a PagerDuty, was asked to take, in the order of arrival."""
    found = [event(request) for request in list(receiver.requests)]
    return [e for e in found if server in ("", e.server) and family in ("", e.family)]


class Samples:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def all(self, name: str, **labels: str) -> list[float]:
        """The values of every series of `name` that carries `labels`."""
        wanted = labels.items()
        return [s.value for s in self._samples if s.name == name and wanted <= s.labels.items()]

    def one(self, name: str, **labels: str) -> float:
        """The value of the only such series."""
        (value,) = self.all(name, **labels)
        return value

    def up(self, server: str = "db") -> bool:
        return self.one("pgheadroom_up", server=server) == 1

    def used(self, server: str = "db") -> float:
        return self.one("pgheadroom_connections_used", server=server)

    def failures(self, server: str = "db") -> dict[str, float]:
        """Failed polls by reason, those that there were."""
        name = "pgheadroom_poll_failures_total"
        found = {s.labels["reason"]: s.value for s in self._samples if s.name == name
                 and s.labels["server"] == server}  # fmt: skip
        return {reason: value for reason, value in found.items() if value}

    def firing(self, alertname: str, server: str = "db") -> bool:
        labels = {"alertname": alertname, "alertstate": "firing", "server": server}
        return bool(self.all("pgheadroom_alerts", **labels))


class Watching:
    """`pgheadroom run` with one configuration and one state directory; it may be run repeatedly."""

    def __init__(
        self, folder: Path, document: Mapping[str, Any], environ: Mapping[str, str]
    ) -> None:
        self.state_dir = folder / "state"
        self.file = folder / "pgheadroom.yaml"
        self.document = dict(document)
        self.write()
        self._log = folder / "pgheadroom.log"
        self._environment = child_environment(os.environ) | dict(environ)
        self._listen = free_address()
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, **changes: Any) -> None:
        """Put the document, with changes, into the configuration file."""
        self.document |= changes
        self.file.write_text(yaml.safe_dump(self.document))

    def kill(self) -> None:
        """SIGKILL, as the kernel does it when memory runs out."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang_up(self) -> None:
        """SIGHUP: read the configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def reload(self, **changes: Any) -> None:
        """Write the changes and have them read; returns when they are in force."""
        before = len(self.logged("configuration reloaded"))
        self.write(**changes)
        self.hang_up()
        eventually(
            lambda: len(self.logged("configuration reloaded")) > before, f"a reload:\n{self.log}"
        )

    @contextmanager
    def running(self) -> Iterator[Watching]:
        """Started, and stopped by its pid when the block ends."""
        command = [str(COMMAND), "run", "--config", str(self.file), "--listen", self._listen]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*command, "--state-dir", str(self.state_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        self._process = process
        try:
            eventually(lambda: self._get("/readyz") is not None, "ready", 20)
            yield self
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _get(self, path: str) -> str | None:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"pgheadroom ended:\n{self.log}")
        try:
            with _DIRECT.open(f"http://{self._listen}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):
            return None

    @property
    def address(self) -> str:
        """HOST:PORT where it answers."""
        return self._listen

    @property
    def page(self) -> str:
        return self._get("/") or ""

    def holders(self, server: str) -> dict[str, Any]:
        """What `/api/v1/holders` says of `server`."""
        found = json.loads(self._get(f"/api/v1/holders?server={server}") or "{}")
        (answer,) = found["data"]["servers"]
        return dict(answer)

    def active_since(self, alertname: str) -> datetime:
        """Since when the only alert of that name has been pending or firing."""
        found = json.loads(self._get("/api/v1/alerts") or "{}")["data"]["alerts"]
        (alert,) = (each for each in found if each["labels"]["alertname"] == alertname)
        return datetime.fromisoformat(alert["activeAt"])

    @property
    def log(self) -> str:
        return self._log.read_text()

    def logged(self, message: str) -> list[str]:
        """The lines of the log with `message`."""
        return [line for line in self.log.splitlines() if message in line]

    def scrape(self) -> Samples:
        text = self._get("/metrics")
        assert text is not None, f"/metrics does not answer:\n{self.log}"
        return Samples(text)

    def wait_for(self, condition: str, look: Any, seconds: float = 10.0) -> Samples:
        """The first scrape for which `look` holds; fails with `condition` after `seconds`."""
        seen: list[Samples] = []

        def holds() -> bool:
            seen[:] = [self.scrape()]
            return bool(look(seen[0]))

        try:
            eventually(holds, condition, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None
        return seen[0]

    def wait_for_used(self, used: int, server: str = "db", seconds: float = 10.0) -> Samples:
        """The first scrape that is current and counts `used` slots."""
        return self.wait_for(
            f"{used} slots used", lambda s: s.up(server) and s.used(server) == used, seconds
        )

    def observe(self, seconds: float) -> list[Samples]:
        """Every scrape of the next `seconds`, several a second."""
        until = time.monotonic() + seconds
        seen = [self.scrape()]

        def over() -> bool:
            seen.append(self.scrape())
            return time.monotonic() >= until

        eventually(over, "the end of the observation", seconds + 10)
        return seen


def prepare(server: EmbeddedPostgres) -> EmbeddedPostgres:
    """Make the roles: ours by the SQL that we print, and an application's."""
    server.psql(grants_sql() + "create role app login;")
    return server


def watched(server: EmbeddedPostgres, name: str = "db", **changes: Any) -> dict[str, Any]:
    """One of `servers:`, without a connect probe, which would come and go in the count."""
    return {
        "name": name,
        "dsn": server.dsn(user="pgheadroom"),
        "probe": {"enabled": False},
        **changes,
    }


def pagerduty(receiver: HttpReceiver, name: str = "pager", **changes: Any) -> dict[str, Any]:
    receiver.otherwise = PAGERDUTY_OK
    url = f"{receiver.url}/{name}"
    return {"name": name, "type": "pagerduty", "routing_key": "k" * 32, "url": url, **changes}


def watching(
    folder: Path,
    servers: Sequence[Mapping[str, Any]],
    receivers: Sequence[Mapping[str, Any]] = (),
    *,
    failing_speed: float = 10.0,
    environ: Mapping[str, str] | None = None,
    **changes: Any,
) -> Watching:
    """A watch over `servers` that tells every receiver everything.

    `failing_speed` divides the seconds after which a server counts as unreachable.
    """
    document = {
        "servers": [dict(each) for each in servers],
        "receivers": [dict(each) for each in receivers],
        "routes": [{"receiver": each["name"]} for each in receivers],
        "polling": POLLING,
        # What a forecast adds to an incident depends on how fast this machine makes connections.
        "forecast": {"page": None, "warning": None, "leak": None},
        "rules": _rules(folder, failing_speed),
    }
    return Watching(folder, document | changes, environ or {})


def _rules(folder: Path, failing_speed: float) -> dict[str, Any]:
    """The shipped rules, their durations shortened."""
    replaced = 0
    files: list[Path] = []
    overrides: dict[str, dict[str, float]] = {}
    for name, text in shipped_rule_texts().items():
        quicker, count = _FAILING.subn(
            lambda found: f"{found[1]}{float(found[2]) / failing_speed:g}", text
        )
        replaced += count
        files.append(folder / name)
        files[-1].write_text(quicker)
        for group in yaml.safe_load(text)["groups"]:
            overrides |= {rule["alert"]: _quicker(rule) for rule in group["rules"]}
    assert replaced == 3, "the reachability rules have changed; so must this"
    return {"shipped": False, "files": list(map(str, files)), "overrides": overrides}


def _quicker(rule: Mapping[str, Any]) -> dict[str, float]:
    quicker = {"keep_firing_for": KEEP_FIRING_SECONDS}
    if "for" in rule:
        quicker["for"] = duration_seconds(rule["for"]) / 10
    return quicker
