"""`make bench-fleet`: what one pgheadroom costs that watches 50, 200 and 400 servers.

The servers are databases on twenty small local instances. Some runs have black holes among them.
CPU time is the kernel's count. Exit status 1 when a target is missed, 2 when it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from bench.blackholes import BlackHoles
from bench.procfs import cpu_model, cpu_ms, memory_mib, reaped_ms, starved_ms, written_mib
from bench.report import PAGE, Figure, markdown, revision, say, table, write
from bench.setting import BenchError, Program, Session, watcher
from exporter.demo.postgres import EmbeddedPostgres, PostgresError, Setting

INSTANCES, CLIENTS = 20, 10
INTERVAL_SECONDS = 5.0
#: Every first poll is over, each cadence has come once, and the probes have begun to repeat.
WARM_SECONDS, SPAN_SECONDS, IDLE_SECONDS = 15.0, 60.0, 8.0
OWN_CORES, POSTGRES_CORES, MEMORY_MIB, LATE_SECONDS, GROWTH = 0.25, 0.1, 150.0, 1.0, 1.2
#: Above this the machine is busy with something else, and lateness says nothing of us.
STARVED = 0.05
_SETTINGS: Mapping[str, Setting] = {
    "max_connections": 100,
    "shared_buffers": "1MB",
    "autovacuum": False,
}
_KEPT = "select count(*) from pg_stat_activity where application_name = 'pgheadroom'"


@dataclass(frozen=True, slots=True)
class Run:
    """One size of fleet: cores, MiB, seconds, and the sessions that Postgres counted."""

    servers: int
    holes: int
    own: float
    postgres: float
    memory: float
    late: float
    turns: int
    sessions: int
    written: float
    """MiB an hour."""
    starved: float
    """Share of the time in which the loop could have run and had no core."""

    @property
    def seen(self) -> int:
        """Servers that answer."""
        return self.servers - self.holes


class Stage:
    """Instances with some idle clients, and a look at what they cost."""

    def __init__(self, instances: Sequence[EmbeddedPostgres]) -> None:
        self._instances = instances
        self._eyes: list[Session] = []
        self._clients: list[Session] = []
        for each in instances:
            each.psql("create role pgheadroom login; grant pg_monitor to pgheadroom;")
            self._eyes.append(psycopg.connect(each.dsn(), autocommit=True))
            self._clients += [
                psycopg.connect(each.dsn(application_name=f"app-{number % 3}"), autocommit=True)
                for number in range(CLIENTS)
            ]
        began = self.postgres_ms()
        time.sleep(IDLE_SECONDS)
        self._idle = (self.postgres_ms() - began) / IDLE_SECONDS

    def close(self) -> None:
        """Let the clients go."""
        for each in (*self._eyes, *self._clients):
            each.close()

    def dsns(self, number: int) -> list[str]:
        """`number` servers, spread over the instances."""
        return [
            self._instances[index % len(self._instances)].dsn("pgheadroom")
            for index in range(number)
        ]

    def postgres_ms(self) -> float:
        """CPU time of all instances, with every backend that there is and that there was."""
        return sum(map(_tree_ms, (each.pid for each in self._instances)))

    def cores_over_idle(self, spent_ms: float, seconds: float) -> float:
        """`spent_ms` in `seconds`, less what the instances take with nobody watching."""
        return max(0.0, spent_ms / seconds - self._idle) / 1000

    def sessions(self) -> int:
        """Kept sessions of pgheadroom."""
        counts = (eye.execute(_KEPT).fetchone() for eye in self._eyes)
        return sum(int(str(row[0])) for row in counts if row)


def _tree_ms(postmaster: int) -> float:
    """CPU time of a postmaster, of its children, and of those that have ended."""
    spent = cpu_ms(postmaster) + reaped_ms(postmaster)
    with open(f"/proc/{postmaster}/task/{postmaster}/children", encoding="ascii") as file:  # noqa: PTH123  a file of the kernel's
        children = [int(pid) for pid in file.read().split()]
    for child in children:
        # One that ends meanwhile is reaped, and counted the next time.
        with contextlib.suppress(OSError):
            spent += cpu_ms(child)
    return spent


def measure(stage: Stage, servers: int, holes: int) -> Run:
    """Watch so many servers for a while."""
    with BlackHoles(holes) as black:
        dsns = [*stage.dsns(servers - holes), *black.dsns()]
        entries = [{"name": f"server-{n:03d}", "dsn": dsn} for n, dsn in enumerate(dsns)]
        with watcher(entries, interval=INTERVAL_SECONDS, busy_interval=INTERVAL_SECONDS) as program:
            say(f"{servers} servers: waiting for the first polls")
            time.sleep(WARM_SECONDS)
            say(f"{servers} servers: measuring for {SPAN_SECONDS:.0f} s")
            late, began = _late(program), time.monotonic()
            own, postgres = cpu_ms(program.pid), stage.postgres_ms()
            written, starved = written_mib(program.pid), starved_ms(program.pid)
            time.sleep(SPAN_SECONDS)
            seconds = time.monotonic() - began
            own, postgres = cpu_ms(program.pid) - own, stage.postgres_ms() - postgres
            now = _late(program)
            spread = {bound: now[bound] - late[bound] for bound in now}
            return Run(
                servers,
                holes,
                own / seconds / 1000,
                stage.cores_over_idle(postgres, seconds),
                memory_mib(program.pid)[0],
                quantile(0.99, spread),
                int(spread[float("inf")]),
                stage.sessions(),
                (written_mib(program.pid) - written) / seconds * 3600,
                (starved_ms(program.pid) - starved) / seconds / 1000,
            )


def _late(program: Program) -> dict[float, float]:
    """`pgheadroom_turn_late_seconds`: turns by upper bound, cumulative."""
    line = program.line()
    line.request("GET", "/metrics")
    text = line.getresponse().read().decode()
    line.close()
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "pgheadroom_turn_late_seconds_bucket"
    }


def quantile(share: float, buckets: dict[float, float]) -> float:
    """What Prometheus' `histogram_quantile` says of cumulative counts by upper bound.

    >>> quantile(0.5, {1.0: 1, 2.0: 3, float("inf"): 4})
    1.5
    >>> quantile(0.99, {1.0: 1, 2.0: 3, float("inf"): 4})
    2.0
    """
    wanted = share * max(buckets.values())
    low, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= wanted and count > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low


def figures(runs: Sequence[Run]) -> list[Figure]:
    """What is held against the targets: the fleet of 200, lateness at any size, and growth."""
    found = [figure for run in runs for figure in _figures_of(run)]
    whole = [run for run in runs if not run.holes]
    if len(whole) > 1:
        small, large = whole[0], whole[-1]
        growth = (large.own / large.servers) / (small.own / small.servers)
        note = f"a server of {large.servers} over one of {small.servers}"
        found.append(_figure("growth of own CPU", growth, "times", GROWTH, note))
    return found


def _figures_of(run: Run) -> list[Figure]:
    name = f"{run.servers} servers" + (f", {run.holes} black holes" if run.holes else "")
    cores, postgres, memory = (
        (OWN_CORES, POSTGRES_CORES, MEMORY_MIB)
        if run.servers == 200  # noqa: PLR2004  what the targets are for
        else (None, None, None)
    )
    turn = f"{run.own * SPAN_SECONDS * 1000 / max(1, run.turns):.1f} ms a turn"
    sessions = Figure(
        f"{name}: sessions", str(run.seen), str(run.sessions), run.sessions == run.seen
    )
    return [
        _figure(f"{name}: own CPU", run.own, "cores", cores, turn),
        _figure(f"{name}: CPU of Postgres", run.postgres, "cores", postgres),
        _figure(f"{name}: resident memory", run.memory, "MiB", memory),
        _lateness(name, run),
        sessions,
        Figure(f"{name}: written to disk", "", f"{run.written:.0f} MiB an hour"),
    ]


def _lateness(name: str, run: Run) -> Figure:
    """Without a verdict where others had the cores."""
    note = f"no core for {run.starved:.1%} of the time"
    fair = run.starved < STARVED
    return _figure(
        f"{name}: p99 lateness of a turn", run.late, "s", LATE_SECONDS if fair else None, note
    )


def _figure(name: str, value: float, unit: str, limit: float | None, note: str = "") -> Figure:
    """A line of the table; without a limit there is nothing to meet."""
    shown = f"{value:.0f}" if unit == "MiB" else f"{value:.3f}"
    measured = f"{shown} {unit}{f' ({note})' if note else ''}"
    if limit is None:
        return Figure(name, "", measured)
    return Figure(name, f"≤ {limit:g} {unit}", measured, value <= limit)


@contextlib.contextmanager
def stage(major: int) -> Iterator[Stage]:
    """Twenty instances with their clients."""
    with contextlib.ExitStack() as stack:
        instances = []
        for number in range(INSTANCES):
            say(f"starting instance {number + 1} of {INSTANCES}")
            instances.append(stack.enter_context(EmbeddedPostgres(major, _SETTINGS)))
        made = Stage(instances)
        stack.callback(made.close)
        yield made


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bench/fleet.py", description=__doc__)
    parser.add_argument("--postgres", type=int, choices=(16, 18), default=16, help="major version")
    parser.add_argument("--servers", type=int, nargs="+", default=[50, 200, 400])
    parser.add_argument("--holes", type=int, default=50, help="black holes in a last run of 200")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    try:
        with stage(options.postgres) as made:
            runs = [measure(made, number, 0) for number in options.servers]
            if options.holes:
                runs.append(measure(made, 200, options.holes))
            say("")
    except (BenchError, PostgresError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    found = figures(runs)
    print(table(found))
    if options.write:
        write(PAGE, markdown(found, _circumstances(options.postgres)), "bench-fleet")
    return 0 if all(figure.ok is not False for figure in found) else 1


def _circumstances(major: int) -> tuple[str, ...]:
    instances = f"{INSTANCES} instances of Postgres {major} with {CLIENTS} idle clients each"
    versions = f"Python {platform.python_version()}, psycopg {psycopg.__version__}"
    load = f"load average {os.getloadavg()[2]:.1f}"
    return (
        f"{instances}; polls every {INTERVAL_SECONDS:.0f} s, probes every 30 s, default rules",
        f"{cpu_model()}, Linux {platform.release()}, {load}, {versions}",
        f"revision {revision()}, `make bench-fleet`",
    )


if __name__ == "__main__":
    sys.exit(main())
