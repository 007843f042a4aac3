"""The programs that pgheadroom works beside: postgres_exporter, Prometheus and its promtool."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bench import peer
from exporter.demo.watcher import end, free_address
from tests.support.parts import needing, program
from tests.support.receivers import eventually

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_START_SECONDS = 30.0
_PATH = "/usr/bin:/bin"


def debian_program(name: str) -> str:
    """A program of Debian's package `prometheus`."""
    return program(name, "prometheus")


def get(url: str) -> str | None:
    """The answer's text; None while nothing answers there."""
    try:
        with _DIRECT.open(url, timeout=10) as answer:
            return str(answer.read().decode())
    except (OSError, http.client.HTTPException):
        return None


def samples(text: str) -> list[Sample]:
    """Every sample of an exposition, under the name that is written there."""
    # The parser renames counters that do not end in _total, as one of the peer's does not.
    untyped = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith("#"))
    return [each for family in text_string_to_metric_families(untyped) for each in family.samples]


@contextlib.contextmanager
def _running(
    command: Sequence[str], ready: str, log: Path, environ: Mapping[str, str]
) -> Iterator[None]:
    """`command` until the block ends, from when `ready` answers."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"PATH": _PATH, **environ},
        )
    try:
        what = f"{command[0]} answers"
        try:
            eventually(
                lambda: process.poll() is not None or get(ready) is not None, what, _START_SECONDS
            )
        finally:
            said = log.read_text("utf-8", "replace")
        assert process.poll() is None, f"{command[0]} ended:\n{said}"
        yield
    finally:
        end(process)


@contextlib.contextmanager
def postgres_exporter(dsn: str, folder: Path, *flags: str) -> Iterator[str]:
    """postgres_exporter over `dsn`; gives the address of its metrics."""
    with needing(peer.PeerError):
        binary = peer.postgres_exporter()
    listen = free_address()
    url = f"http://{listen}/metrics"
    command = [str(binary), f"--web.listen-address={listen}", *flags]
    with _running(command, url, folder / "exporter.log", {"DATA_SOURCE_NAME": dsn}):
        yield url


class Prometheus:
    """A Prometheus that scrapes as its configuration says."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/api/v1"

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The elements of an instant query, now or at a Unix time: `metric` and `value`."""
        when = {} if at is None else {"time": f"{at:.3f}"}
        answer = self._ask("query", query=expression, **when)
        found: list[dict[str, Any]] = answer["result"]
        return found

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """The elements of a range query between two Unix times: `metric` and `values`."""
        span = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[dict[str, Any]] = self._ask("query_range", query=expression, **span)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The groups of alerting rules, with the health of each rule."""
        found: list[dict[str, Any]] = self._ask("rules", type="alert")["groups"]
        return found

    def label_values(self, label: str, selector: str = "") -> list[str]:
        """What Grafana's `label_values(selector, label)` gives."""
        match = {"match[]": selector} if selector else {}
        found: list[str] = self._ask(f"label/{label}/values", **match)
        return found

    def _ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        text = get(f"{self._url}/{path}?{query}")
        assert text is not None, f"Prometheus refused {path}?{query}"
        answer = json.loads(text)
        assert answer["status"] == "success", answer
        return answer["data"]


@contextlib.contextmanager
def prometheus(folder: Path, configuration: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Prometheus with `configuration`, its data in `folder`."""
    program = debian_program("prometheus")
    listen = free_address()
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(dict(configuration)))
    command = [
        program,
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={listen}",
    ]
    with _running(command, f"http://{listen}/-/ready", folder / "prometheus.log", {}):
        yield Prometheus(listen)


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, address: str) -> None:
        self.url = f"http://{address}"

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that are open there."""
        text = get(f"{self.url}/api/v2/alerts")
        assert text is not None, "Alertmanager does not answer"
        found: list[dict[str, Any]] = json.loads(text)
        return found


@contextlib.contextmanager
def alertmanager(folder: Path, webhook: str, listen: str = "") -> Iterator[Alertmanager]:
    """Alertmanager that tells `webhook` of each alert at once, by itself."""
    program = debian_program("prometheus-alertmanager")
    listen = listen or free_address()
    folder.mkdir(exist_ok=True)
    path = folder / "alertmanager.yaml"
    route = {
        "receiver": "hook",
        "group_by": ["server", "family", "severity"],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    hook = {"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
    path.write_text(yaml.safe_dump({"route": route, "receivers": [hook]}))
    command = [
        program,
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={listen}",
        "--cluster.listen-address=",
    ]
    with _running(command, f"http://{listen}/-/ready", folder / "alertmanager.log", {}):
        yield Alertmanager(listen)
