"""`pgheadroom demo`: a launch against an embedded Postgres, the installed command beside it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from exporter.config.model import listen_address
from exporter.demo.clients import Launch
from exporter.demo.configuration import Addresses, demo_configuration
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from exporter.demo.receiver import Receiver
from exporter.demo.replay import Replay
from exporter.demo.report import print_report
from exporter.demo.timeline import Verdict
from exporter.demo.view import view_for
from exporter.demo.watcher import Watcher, WatcherError, free_address, local_url
from exporter.rules.load import shipped_rule_texts

MAX_CONNECTIONS = 100
USABLE = 97
"""`max_connections` less Postgres' default `superuser_reserved_connections` of 3."""
FASTEST = 10.0
"""Above this, logins take longer than the launch gives them, and the picture is another one."""
MAJORS = (16, 18)
INTERRUPTED = 130
_PREPARE = """
create role pgheadroom login connection limit 8;
grant pg_read_all_stats to pgheadroom;
create role app login;
"""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How to run the demo.

    `speed` 1 replays the launch as it happened, 8 to 240 connections in 90 s; 3 takes a third of
    the time. `keep` leaves everything up after the timeline until Ctrl-C. `postgres` is the major
    version, 16 or 18. `listen` is pgheadroom's HOST:PORT; None is a free port of loopback.
    """

    speed: float = 1.0
    keep: bool = False
    postgres: int = 16
    listen: str | None = None

    def problem(self) -> str:
        """What is wrong with these options, as a sentence; empty if nothing is."""
        if not 0 < self.speed <= FASTEST:
            return f"--speed {self.speed:g} is out of range: above 0, and {FASTEST:g} at most."
        if self.postgres not in MAJORS:
            return f"--postgres {self.postgres} is not embedded: choose 16 or 18."
        return ""


class SetupError(Exception):
    """The demo could not begin; the message is for the terminal."""


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo in the terminal and return the exit status.

    0: the page came before the first refused client. 1: it did not. 2: the demo could not be set
    up. 130: interrupted before the end. All children are stopped in every case.
    """
    console = console or _terminal()
    try:
        with _termination_as_interrupt():
            return _demo(options, console)
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        return INTERRUPTED
    except (SetupError, WatcherError, PostgresError) as error:
        message = Text(f"pgheadroom demo: {error}")
        Console(stderr=True, highlight=False).print(message, soft_wrap=True)
        return 2


def _demo(options: DemoOptions, console: Console) -> int:
    if problem := options.problem():
        raise SetupError(problem)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pgheadroom-demo-")))
        postgres = stack.enter_context(_postgres(options.postgres, console))
        receiver = stack.enter_context(Receiver())
        watcher = stack.enter_context(_watcher(options, folder, postgres, receiver))
        console.print("Starting pgheadroom beside it, with a receiver for its pages …")
        watcher.wait_until_ready()
        launch = _launch(options.speed, postgres.port)
        replay = Replay(launch, watcher, receiver, USABLE, options.speed)
        return asyncio.run(_play(replay, options, postgres, console))


async def _play(
    replay: Replay, options: DemoOptions, postgres: EmbeddedPostgres, console: Console
) -> int:
    """The launch, its report, and with `keep` the time until Ctrl-C."""
    try:
        with view_for(console) as view:
            timeline = await replay.run(view.show, keep=options.keep)
        print_report(console, timeline, replay.receiver.messages, options.speed)
        in_time = timeline.verdict is Verdict.PAGED_FIRST
        if not in_time:
            console.print(Text(f"\npgheadroom's log:\n{replay.watcher.log_tail()}"))
        if options.keep:
            _print_addresses(console, replay, postgres)
            await _interrupted()
        return 0 if in_time else 1
    finally:
        await replay.close()


async def _interrupted() -> None:
    """Wait for Ctrl-C, which reaches the main task as its cancellation."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


def _launch(speed: float, port: int) -> Launch:
    shape = Launch("127.0.0.1", port)
    return Launch(
        "127.0.0.1",
        port,
        ramp_seconds=shape.ramp_seconds / speed,
        retry_seconds=shape.retry_seconds / speed,
    )


@contextlib.contextmanager
def _postgres(major: int, console: Console) -> Iterator[EmbeddedPostgres]:
    console.print(f"Starting Postgres {major} with max_connections={MAX_CONNECTIONS} …")
    server = EmbeddedPostgres(major, settings={"max_connections": MAX_CONNECTIONS})
    with server:
        server.psql(_PREPARE)
        yield server


def _watcher(
    options: DemoOptions, folder: Path, postgres: EmbeddedPostgres, receiver: Receiver
) -> Watcher:
    # The address must be known beforehand, so a port of 0 is chosen here as well.
    wanted = options.listen if options.listen and listen_address(options.listen)[1] else None
    listen = wanted or free_address()
    addresses = Addresses(
        dsn=postgres.dsn(user="pgheadroom", dbname="postgres"),
        probe_dsn=postgres.dsn(user="app", dbname="postgres"),
        listen=listen,
        external_url=local_url(listen),
        slack_url=receiver.slack_url,
        pagerduty_url=receiver.pagerduty_url,
    )
    text = demo_configuration(addresses, folder / "state", shipped_rule_texts(), options.speed)
    return Watcher(text, folder, listen)


def _print_addresses(console: Console, replay: Replay, postgres: EmbeddedPostgres) -> None:
    console.print()
    for name, address in (
        ("page", replay.watcher.url),
        ("metrics", replay.watcher.metrics_url),
        ("database", postgres.dsn(user="postgres", dbname="postgres")),
    ):
        console.print(Text(f"{name + ':':<10}{address}"), soft_wrap=True)
    console.print("The launch goes on. Ctrl-C stops everything.")


@contextlib.contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that it too stops the children.

    A shell starts what it puts into the background with SIGINT ignored; the demo still has to end.
    """
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: lambda *_: signal.raise_signal(signal.SIGINT),
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminal() -> Console:
    """Standard output; what its encoding has no letter for is replaced."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return Console(highlight=False)
