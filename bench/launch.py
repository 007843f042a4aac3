"""`make bench-launch`: who pages before the first refused client, pgheadroom or the usual stack.

On one Postgres, through one ramp, side by side: pgheadroom as it comes, and postgres_exporter
with a Prometheus that scrapes and evaluates every 15 s, another every 5 s, and an Alertmanager with
the defaults of its documentation behind each; and a third that is tuned for this, 5 s and no wait.
The ramps run at the same time, each on a server of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import peer as peers
from bench.chains import DIRECT, LEVELS, Chain, ours, process, usual
from bench.report import PAGE, revision, write
from exporter.demo.clients import Launch
from exporter.demo.postgres import EmbeddedPostgres, PostgresError
from exporter.demo.watcher import WatcherError, free_address

MAX_CONNECTIONS, USABLE = 100, 97
CALM_SECONDS, AFTER_SECONDS = 20.0, 120.0
#: (clients at the beginning, clients at the end, seconds between).
RAMPS = ((8, 240, 90.0), (40, 240, 300.0), (40, 240, 900.0))
#: (seconds between scrapes and evaluations, seconds that Alertmanager gathers a group).
USUAL = ((15, 30), (5, 30), (5, 0))
_LOOK_SECONDS, _STOP_SECONDS = 0.2, 10.0


@dataclass(frozen=True)
class Row:
    """Seconds after the crossing of each level, and the page's lead over the first refusal."""

    ramp: str
    chain: str
    refused_after: float
    fired: dict[str, float | None]
    told: dict[str, float | None]
    lead: float | None


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
        stack.enter_context(process(exporter, log, DATA_SOURCE_NAME=dsn))
        chains = [stack.enter_context(ours(folder / "own", postgres))]
        chains += [
            stack.enter_context(usual(folder / f"{each}s-{wait}s", target, each, wait))
            for each, wait in USUAL
        ]
        _wait_until_seen(target)
        launch = Launch("127.0.0.1", postgres.port, start, end, seconds / speed)
        asyncio.run(_replay(launch, chains))
        return [_row(f"{start} to {end} in {seconds / speed:.0f} s", launch, c) for c in chains]


def _wait_until_seen(target: str) -> None:
    """Return once the exporter counts sessions: a peer that sees nothing would be no comparison."""
    until = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(OSError), DIRECT.open(f"http://{target}/metrics") as answer:
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


def markdown(rows: Sequence[Row], runs: int) -> str:
    """The table for docs/performance.md."""
    head = (
        "| ramp, first refusal | who | 70 %: fires | told | 85 %: fires | told | before refusal |"
    )
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [_cell(each[level]) for level in LEVELS for each in (row.fired, row.told)]
        ramp = f"{row.ramp}, {row.refused_after:.1f} s"
        lines.append(f"| {ramp} | {row.chain} | {' | '.join(cells)} | {_cell(row.lead)} |")
    notes = (
        f"- medians of {runs} runs; the ramps ran at the same time, each on a server of its own",
        f"- {os.cpu_count()} cores, load average {os.getloadavg()[2]:.1f}",
        f"- revision {revision()}",
    )
    return "\n".join([*lines, "", *notes])


def _cell(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:+.1f} s"


def middle(runs: Sequence[Row]) -> Row:
    """The medians of the runs of one ramp and chain; None where most of them have none."""
    first = runs[0]
    return Row(
        first.ramp,
        first.chain,
        statistics.median(run.refused_after for run in runs),
        {level: _median([run.fired[level] for run in runs]) for level in LEVELS},
        {level: _median([run.told[level] for run in runs]) for level in LEVELS},
        _median([run.lead for run in runs]),
    )


def _median(found: Sequence[float | None]) -> float | None:
    """What did not happen counts as later than everything that did."""
    value = statistics.median(math.inf if each is None else each for each in found)
    return None if math.isinf(value) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=float, default=1.0, help="ramps this many times shorter")
    parser.add_argument("--only", type=int, choices=range(len(RAMPS)), help="one ramp, from 0")
    parser.add_argument("--runs", type=int, default=3, help="of each ramp, one after another")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


def _run(ramp: tuple[int, int, float], options: argparse.Namespace) -> list[list[Row]]:
    """The rows of every run of one ramp."""
    found = []
    for turn in range(1, options.runs + 1):
        seconds = ramp[2] / options.speed
        words = f"{ramp[0]} to {ramp[1]} clients in {seconds:.0f} s, run {turn} of {options.runs}"
        print(words, flush=True)
        found.append(measure(ramp, options.speed))
        print("\n".join(map(str, found[-1])), flush=True)
    return found


def main() -> int:
    """Measure, print, and with `--write` put the table into the page."""
    options = _options()
    ramps = RAMPS if options.only is None else (RAMPS[options.only],)
    try:
        with ThreadPoolExecutor(len(ramps)) as pool:
            found = list(pool.map(lambda ramp: _run(ramp, options), ramps))
    except (PostgresError, peers.PeerError, WatcherError, OSError, TimeoutError) as error:
        print(f"bench-launch: {error}", file=sys.stderr)
        return 2
    rows = [middle(runs) for each in found for runs in zip(*each, strict=True)]
    text = markdown(rows, options.runs)
    print(text)
    if options.write:
        write(PAGE, text, "bench-launch")
    ours = [row for each in found for run in each for row in run if row.chain == "pgheadroom"]
    return 0 if all(row.lead is not None and row.lead > 0 for row in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
