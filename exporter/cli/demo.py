"""`pgheadroom demo`: a product launch against an embedded Postgres."""

from __future__ import annotations

import sys

import click

from exporter.cli.reading import address
from exporter.demo.launch import DemoOptions, run_demo


@click.command()
@click.option(
    "--speed", default=1.0, show_default=True, help="Shortens the launch this many times."
)
@click.option("--keep", is_flag=True, help="Leave everything up afterwards, until Ctrl-C.")
@click.option("--postgres", default=16, show_default=True, help="The major version: 16 or 18.")
@click.option("--listen", callback=address, metavar="HOST:PORT", help="Where to serve /metrics.")
def demo(speed: float, postgres: int, listen: str | None, *, keep: bool) -> None:
    """Replay a product launch against an embedded Postgres; the page must beat the refusal."""
    sys.exit(run_demo(DemoOptions(speed=speed, keep=keep, postgres=postgres, listen=listen)))
