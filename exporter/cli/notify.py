"""`pgheadroom notify test`: the receivers."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from exporter.cli.lines import print_line
from exporter.cli.options import config_option, fail
from exporter.cli.reading import origin_of, read
from exporter.notify.trial import try_receivers


@click.group()
def notify() -> None:
    """The receivers."""


@notify.command()
@config_option()
@click.option("--receiver", "names", multiple=True, help="Only this one; may be repeated.")
def test(path: Path | None, names: tuple[str, ...]) -> None:
    """Send a test notification to each receiver. Exit status 1 if one of them fails."""
    config = read(origin_of(path))
    known = [each.name for each in config.receivers]
    for name in names:
        if name not in known:
            fail(f"--receiver: none is named {name!r}; there are: {', '.join(known) or 'none'}")
    chosen = [each for each in config.receivers if not names or each.name in names]
    if not chosen:
        fail("no receiver is configured; add one under receivers:, or set SLACK_WEBHOOK_URL")
    failed = False
    for name, error in try_receivers(chosen, config.install_id):
        failed = failed or error is not None
        print_line(f"{name}: {'delivered' if error is None else f'failed: {error}'}")
    sys.exit(1 if failed else 0)
