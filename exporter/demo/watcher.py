"""The installed command as a child process, and what it says of itself."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from exporter.config.model import listen_address

_SAMPLE = re.compile(
    r"(?P<name>pgheadroom_\w+)(?:\{(?P<labels>.*)\})? (?P<value>[-+]?[\d.]+(?:e[-+]?\d+)?)"
)
_WINDOW = re.compile(r'\bwindow="(\w+)"')
_OWN_VARIABLES = ("DATABASE_URL", "SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY")
_STOP_SECONDS = 10.0
#: Straight to loopback, whatever proxy the environment names.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class WatcherError(Exception):
    """pgheadroom did not come up; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What pgheadroom itself exports: slots, a share of them, seconds; None is not exported."""

    used: float | None = None
    usable: float | None = None
    used_ratio: float | None = None
    forecast_seconds: float | None = None
    up: bool = False


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and see to it that it does; one that has ended already stays so."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Watcher:
    """`pgheadroom run` beside the launch; a context manager that stops it by its pid.

    `command` is the command to run, this interpreter's own by default.
    """

    def __init__(
        self, configuration: str, folder: Path, listen: str, command: Sequence[str] = ()
    ) -> None:
        self.url = local_url(listen)
        self.metrics_url = f"{self.url}/metrics"
        self._listen = listen
        self._command = command
        self._folder = folder
        self._file = folder / "pgheadroom.yaml"
        self._file.write_text(configuration, encoding="utf-8")
        self._file.chmod(0o600)
        self._log = folder / "pgheadroom.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # -P: a folder named "exporter" where the user stands must not be run instead of this one.
        command = [*(self._command or (sys.executable, "-P", "-m", "exporter")), "run"]
        command += ["--config", str(self._file)]
        command += ["--listen", self._listen, "--state-dir", str(self._folder / "state")]
        try:
            self._process = self._start(command)
        except OSError as error:
            raise WatcherError(f"pgheadroom cannot be run: {error}") from error
        return self

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603  our own command, from this interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment(os.environ),
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its children
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            end(self._process)

    def kill(self) -> None:
        """SIGKILL, as the kernel does it when memory runs out."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def wait_until_ready(self, deadline: float = 30.0) -> None:
        """Return once pgheadroom has polled the server.

        Raises:
            WatcherError: it ended, or was not ready after `deadline` seconds.
        """
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            if not self.running:
                raise WatcherError(f"pgheadroom ended before it was ready:\n{self.log_tail()}")
            if _get(f"{self.url}/readyz") is not None:
                return
            time.sleep(0.05)
        raise WatcherError(
            f"pgheadroom was not ready after {deadline:.0f} seconds:\n{self.log_tail()}"
        )

    def get(self, path: str) -> str:
        """What it answers at `path`; empty while it does not."""
        return _get(f"{self.url}{path}") or ""

    def reading(self) -> Reading:
        """What /metrics says now; an empty reading while it does not answer."""
        return reading(self.get("/metrics"))

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what would lead pgheadroom, libpq or HTTP away from loopback."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("PG") and name not in _OWN_VARIABLES
    }
    return kept | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def local_url(listen: str) -> str:
    """Where this machine reaches what listens on HOST:PORT.

    >>> local_url("0.0.0.0:9970"), local_url("[::1]:9970")
    ('http://127.0.0.1:9970', 'http://[::1]:9970')
    """
    host, port = listen_address(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  told apart, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def free_address() -> str:
    """HOST:PORT of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def reading(metrics: str) -> Reading:
    """What a text exposition of one watched server says."""
    values: dict[str, float] = {}
    for line in metrics.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found:
            window = _WINDOW.search(found["labels"] or "")
            values[found["name"] + (f":{window[1]}" if window else "")] = float(found["value"])
    return Reading(
        used=values.get("pgheadroom_connections_used"),
        usable=values.get("pgheadroom_connections_usable"),
        used_ratio=values.get("pgheadroom_connections_used_ratio"),
        forecast_seconds=values.get("pgheadroom_exhaustion_forecast_seconds:page"),
        up=values.get("pgheadroom_up") == 1,
    )


def _get(url: str) -> str | None:
    """The body of a 200 answer, None for anything else."""
    try:
        with _DIRECT.open(url, timeout=2.0) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException):
        return None
