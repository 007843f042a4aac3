"""`make bench`: what pgheadroom costs beside a server with 1,000 backends, and its targets.

Ratios are taken within one run and from CPU time, so that a busy machine does not change them much.
Exit status 1 when a target is missed, 2 when the bench could not run.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

import psycopg

from bench import peer as peers
from bench.measures import (
    Latency,
    Peer,
    Polls,
    Stage,
    measure_peer,
    measure_polls,
    measure_scrapes,
)
from bench.procfs import cpu_model, memory_mib
from bench.report import PAGE, Figure, markdown, revision, say, table, write
from bench.setting import (
    BenchError,
    crowd,
    kept_backend,
    pgheadroom,
    postgres_exporter,
    server,
)
from exporter.demo.postgres import EmbeddedPostgres, PostgresError

TARGET_RATIO, TARGET_OWN_MS, TARGET_P99_MS, TARGET_MIB = 2.5, 5.0, 3.0, 75.0
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


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that one run found."""

    polls: Polls
    worst: Polls
    scrapes: Latency
    worst_scrapes: Latency
    memory: tuple[float, float]
    peer: Peer | None
    circumstances: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = _options(arguments)
    began = time.monotonic()
    try:
        measured = _measure(options)
    except (BenchError, PostgresError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    figures = _figures(measured)
    print(table(figures))
    for line in measured.circumstances:
        print(line)
    print(f"{time.monotonic() - began:.0f} s")
    if options.write:
        write(PAGE, markdown(figures, measured.circumstances))
    return 0 if all(figure.ok is not False for figure in figures) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--postgres", type=int, choices=(16, 18), default=16, help="major version")
    parser.add_argument("--backends", type=int, default=1000, help="clients to connect")
    parser.add_argument("--quick", action="store_true", help="a minute instead of four")
    parser.add_argument("--no-peer", action="store_true", help="leave postgres_exporter out")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace) -> Measured:
    effort = QUICK if options.quick else FULL
    say("starting Postgres")
    with server(options.postgres, options.backends) as postgres:
        found = _watched(postgres, options, effort)
        say("")
        return found


def _watched(postgres: EmbeddedPostgres, options: argparse.Namespace, effort: Effort) -> Measured:
    with psycopg.connect(postgres.dsn(), autocommit=True) as session:
        say(f"connecting {options.backends} clients")
        with crowd(postgres, options.backends, "mixed"):
            with pgheadroom(postgres) as program:
                stage = Stage(program, kept_backend(session), postgres.pid, session)
                time.sleep(effort.warm_seconds)
                polls = measure_polls(stage, effort.polls, say)
                say(f"{effort.scrapes} scrapes")
                scrapes = measure_scrapes(program, effort.scrapes)
                memory = memory_mib(program.pid)
            peer, version = _peer(postgres, options, effort)
        say(f"connecting {options.backends} clients of {options.backends} applications")
        with crowd(postgres, options.backends, "distinct"), pgheadroom(postgres) as program:
            stage = Stage(program, kept_backend(session), postgres.pid, session)
            time.sleep(effort.warm_seconds)
            worst = measure_polls(stage, effort.worst_polls, say)
            worst_scrapes = measure_scrapes(program, effort.scrapes)
        circumstances = _circumstances(session, options, version)
    return Measured(polls, worst, scrapes, worst_scrapes, memory, peer, circumstances)


def _peer(
    postgres: EmbeddedPostgres, options: argparse.Namespace, effort: Effort
) -> tuple[Peer | None, str]:
    """postgres_exporter's figures and its version, or why there are none."""
    if options.no_peer:
        return None, "left out"
    say("fetching postgres_exporter")
    try:
        binary = peers.postgres_exporter()
    except peers.PeerError as error:
        return None, f"not compared with: {error}"
    with postgres_exporter(binary, postgres) as program:
        found = measure_peer(program, postgres.pid, effort.peer_scrapes, say)
    return found, peers.version(binary)


def _figures(found: Measured) -> list[Figure]:
    polls, worst = found.polls, found.worst
    return [
        Figure.below(
            "Postgres CPU per poll, of `count(*)`",
            polls.ratio,
            TARGET_RATIO,
            "times",
            f"{median(polls.backend):.2f} ms to {median(polls.count):.2f} ms",
        ),
        Figure.below(
            "own CPU per poll, default rules",
            median(polls.own),
            TARGET_OWN_MS,
            "ms",
            f"mean {fmean(polls.own):.1f} ms with probes and slow reads",
        ),
        _p99(found.scrapes),
        Figure.below(
            "`/metrics` right after a poll, median",
            median(polls.scrape_wall),
            TARGET_P99_MS,
            "ms",
            f"{fmean(polls.scrape):.1f} ms of CPU, {found.scrapes.size // 1024} KiB",
        ),
        Figure.below(
            "resident memory", found.memory[0], TARGET_MIB, "MiB", f"peak {found.memory[1]:.1f} MiB"
        ),
        Figure(
            "connections held",
            "1",
            f"{median(polls.held):.0f} (at most {max(polls.held)} seen)",
            median(polls.held) == 1,
        ),
        *_comparison(polls, found.peer),
        Figure(
            "own CPU per poll, no two clients alike",
            "",
            f"{median(worst.own):.1f} ms, in Postgres {median(worst.backend):.2f} ms"
            f" ({worst.ratio:.1f} times `count(*)`)",
        ),
        Figure(
            "`/metrics` then",
            "",
            f"p99 {found.worst_scrapes.p99:.1f} ms, {found.worst_scrapes.size // 1024} KiB;"
            f" right after a poll {median(worst.scrape_wall):.1f} ms",
        ),
    ]


def _p99(scrapes: Latency) -> Figure:
    """Without a verdict where the machine alone takes as long as is allowed."""
    note = f"p50 {scrapes.p50:.2f} ms; `/healthz` p99 {scrapes.floor:.1f} ms"
    figure = Figure.below("`/metrics` p99", scrapes.p99, TARGET_P99_MS, "ms", note)
    if figure.ok or scrapes.floor < TARGET_P99_MS:
        return figure
    return replace(figure, measured=f"{figure.measured}: the machine is too busy to tell", ok=None)


def _comparison(polls: Polls, peer: Peer | None) -> list[Figure]:
    ours = polls.own_per_minute + polls.postgres_per_minute
    parts = f"own {polls.own_per_minute:.0f} ms, Postgres {polls.postgres_per_minute:.0f} ms"
    name = "CPU per minute, both sides: polls at 2 s"
    if peer is None:
        return [Figure(name, "", f"{ours:.0f} ms ({parts})")]
    return [
        Figure.below(name, ours, peer.per_minute, "ms", parts),
        Figure(
            "postgres_exporter, scraped every 5 s",
            "",
            f"{peer.per_minute:.0f} ms; per scrape own {peer.own:.1f} ms, Postgres"
            f" {peer.postgres:.1f} ms, {peer.wall:.0f} ms to answer; {peer.rss:.0f} MiB",
        ),
    ]


def _circumstances(
    session: psycopg.Connection[tuple[object, ...]], options: argparse.Namespace, peer: str
) -> tuple[str, ...]:
    postgres = session.info.parameter_status("server_version")
    flags = f" --postgres {options.postgres}" + (" --quick" if options.quick else "")
    return (
        f"Postgres {postgres}, Python {platform.python_version()}, psycopg {psycopg.__version__}",
        f"postgres_exporter {peer}",
        f"{cpu_model()}, Linux {platform.release()}, load average {os.getloadavg()[2]:.1f}",
        f"{options.backends} client backends, `max_connections={options.backends * 11 // 10}`",
        f"revision {revision()}, `python bench/run.py{flags}`",
    )


if __name__ == "__main__":
    sys.exit(main())
