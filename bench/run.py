"""`make bench`: what pgheadroom costs beside a server with 1,000 backends, and its targets.

Ratios are taken within one run and from CPU time, so that a busy machine does not change them much.
Exit status 1 when a target is missed, 2 when the bench could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import peer as peers
from bench.figures import Measured, Watched, Worst, figures
from bench.measures import (
    Stage,
    measure_peer,
    measure_polls,
    measure_scrapes,
)
from bench.procfs import cpu_model, memory_mib
from bench.report import PAGE, markdown, revision, say, table, write
from bench.setting import (
    BUSY,
    CALM,
    BenchError,
    State,
    crowd,
    kept_backend,
    pgheadroom,
    postgres_exporter,
    server,
)
from exporter.demo.postgres import EmbeddedPostgres, PostgresError

#: pgheadroom starts, learns the names, and has been through each of its cadences once.
WARM_SECONDS, QUICK_WARM_SECONDS = 12.0, 4.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each thing is done."""

    polls: int
    worst_polls: int
    scrapes: int
    peer_scrapes: int
    warm_seconds: float


FULL = Effort(50, 15, 2000, 12, WARM_SECONDS)
QUICK = Effort(6, 3, 500, 3, QUICK_WARM_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _options(arguments)
    began = time.monotonic()
    try:
        measured = _measure(options)
    except (BenchError, PostgresError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = figures(measured)
    print(table(found))
    for line in measured.circumstances:
        print(line)
    print(f"{time.monotonic() - began:.0f} s")
    if options.write:
        write(PAGE, markdown(found, measured.circumstances))
    return 0 if all(figure.ok is not False for figure in found) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--postgres", type=int, choices=(16, 18), default=16, help="major version")
    parser.add_argument("--backends", type=int, default=1000, help="clients to connect")
    parser.add_argument("--quick", action="store_true", help="two minutes instead of seven")
    parser.add_argument("--no-peer", action="store_true", help="leave postgres_exporter out")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace) -> Measured:
    effort, peer = QUICK if options.quick else FULL, _peer(options)
    with _server(options, CALM) as postgres:
        calm = _watched(postgres, CALM, options, effort, peer)
    with _server(options, BUSY) as postgres:
        busy = _watched(postgres, BUSY, options, effort, peer)
        worst = _worst(postgres, options, effort)
        circumstances = _circumstances(postgres, options, peer)
    say("")
    return Measured(calm, busy, worst, circumstances)


@contextlib.contextmanager
def _server(options: argparse.Namespace, state: State) -> Iterator[EmbeddedPostgres]:
    say(f"starting Postgres, {state.words}")
    with server(options.postgres, _slots(options, state)) as postgres:
        yield postgres


def _watched(
    postgres: EmbeddedPostgres,
    state: State,
    options: argparse.Namespace,
    effort: Effort,
    peer: Path | None,
) -> Watched:
    say(f"connecting {options.backends} clients")
    with crowd(postgres, options.backends, "mixed"):
        with _stage(postgres, state, effort) as stage:
            polls = measure_polls(stage, effort.polls, say)
            say(f"{effort.scrapes} scrapes")
            scrapes = measure_scrapes(stage.program, effort.scrapes)
            memory = memory_mib(stage.program.pid)
        if peer is None:
            return Watched(state, polls, scrapes, memory, None)
        with postgres_exporter(peer, postgres) as program:
            found = measure_peer(program, postgres.pid, effort.peer_scrapes, say)
    return Watched(state, polls, scrapes, memory, found)


@contextlib.contextmanager
def _stage(postgres: EmbeddedPostgres, state: State, effort: Effort) -> Iterator[Stage]:
    """Pgheadroom over `postgres`, warm."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as session, pgheadroom(postgres) as found:
        # Warm, its kept session is the oldest that it has; before, that may be one of a moment.
        time.sleep(effort.warm_seconds)
        yield Stage(found, kept_backend(session), postgres.pid, session, state.interval)


def _worst(postgres: EmbeddedPostgres, options: argparse.Namespace, effort: Effort) -> Worst:
    say(f"connecting {options.backends} clients of {options.backends} applications")
    with crowd(postgres, options.backends, "distinct"), _stage(postgres, BUSY, effort) as stage:
        polls = measure_polls(stage, effort.worst_polls, say)
        return Worst(polls, measure_scrapes(stage.program, effort.scrapes))


def _peer(options: argparse.Namespace) -> Path | None:
    """postgres_exporter's binary; None where it is left out or cannot be had."""
    if options.no_peer:
        return None
    say("fetching postgres_exporter")
    try:
        return peers.postgres_exporter()
    except peers.PeerError as error:
        print(f"not compared with postgres_exporter: {error}", file=sys.stderr)
        return None


def _circumstances(
    postgres: EmbeddedPostgres, options: argparse.Namespace, peer: Path | None
) -> tuple[str, ...]:
    flags = f" --postgres {options.postgres}" + (" --quick" if options.quick else "")
    calm, busy = _slots(options, CALM), _slots(options, BUSY)
    exporter = "left out" if peer is None else peers.version(peer)
    return (
        f"Postgres {postgres.psql('show server_version')}",
        f"Python {platform.python_version()}, psycopg {psycopg.__version__}",
        f"postgres_exporter {exporter}",
        f"{cpu_model()}, Linux {platform.release()}, load average {os.getloadavg()[2]:.1f}",
        f"{options.backends} backends, `max_connections` {calm}, then {busy}",
        f"revision {revision()}, `python bench/run.py{flags}`",
    )


def _slots(options: argparse.Namespace, state: State) -> int:
    backends: int = options.backends
    return round(backends * state.slots)


if __name__ == "__main__":
    sys.exit(main())
