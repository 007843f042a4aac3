"""`pgheadroom doctor`: what is wrong with the settings, and what fits."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

import click

from exporter.cli.lines import print_line
from exporter.cli.options import WORDS, config_option, finite, json_option
from exporter.cli.reading import origin_of, read
from exporter.doctor.examine import Examined, examine, worst
from exporter.doctor.sizing import Workload

_AT_LEAST_ONE = click.IntRange(min=1)
_NOT_NEGATIVE = click.IntRange(min=0)


@click.command()
@config_option("DATABASE_URL and PGBOUNCER_URL do")
@json_option
@click.option("--instances", type=_AT_LEAST_ONE, help="Of the application, running at once.")
@click.option("--pool-size", type=_AT_LEAST_ONE, help="Connections that each of them may open.")
@click.option(
    "--replicas", type=_NOT_NEGATIVE, default=0, help="Pooler processes; else as configured."
)
@click.option(
    "--hold-ms",
    type=click.FloatRange(min=0, min_open=True),
    callback=finite,
    help="How long a transaction holds its connection.",
)
@click.option(
    "--buffer",
    type=_NOT_NEGATIVE,
    default=1,
    show_default=True,
    help="Connections of each instance's share that are left free.",
)
@click.option("--cores", type=_AT_LEAST_ONE, help="Of the database server.")
@click.option("--spindles", type=_NOT_NEGATIVE, default=0, help="Disks of it that seek.")
@click.option("--cpus", type=_AT_LEAST_ONE, default=2, show_default=True, help="Of one instance.")
def doctor(  # noqa: PLR0913, PLR0917  one argument for each option
    path: Path | None,
    instances: int | None,
    pool_size: int | None,
    replicas: int,
    hold_ms: float | None,
    buffer: int,
    cores: int | None,
    spindles: int,
    cpus: int,
    *,
    as_json: bool,
) -> None:
    """Say what is wrong with the settings of servers and poolers, and what to set.

    With --instances and --pool-size also whether a deployment fits. Exit status 0 ok, 1 warning, 2
    critical, 3 not seen.
    """
    work = None
    if instances is not None and pool_size is not None:
        work = Workload(instances, pool_size, replicas, hold_ms, buffer, cores, spindles, cpus)
    elif instances is not None or pool_size is not None:
        raise click.UsageError("--instances and --pool-size belong together; give both")
    config = read(origin_of(path))
    logging.getLogger().addHandler(logging.NullHandler())
    examined = asyncio.run(examine(config, work))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in examined], indent=2))
    else:
        for each in examined:
            _print(each)
    sys.exit(worst(examined))


def _print(examined: Examined) -> None:
    print_line(f"{examined.name}  {WORDS[examined.code]}", bold=True)
    failure = f"{examined.tried}: {examined.failure}" if examined.failure else ""
    for line in (failure, examined.arithmetic):
        if line:
            print_line(f"  {line}")
    for advice in examined.advice:
        print_line(f"  {advice.severity}: {advice.found} [{advice.name}]")
        print_line(f"    set  {advice.set}")
        print_line(f"    see  {advice.source}")
    if examined.figures:
        print_line("  sizes")
    for figure in examined.figures:
        print_line(f"    {figure.name:<26}{figure.value:>8,.0f}  {figure.formula}")
        print_line(f"    {'':<34}  {figure.source}")
