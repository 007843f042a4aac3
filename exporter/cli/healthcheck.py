"""`pgheadroom healthcheck`: whether a running one is ready, as a container asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from exporter.cli.options import fail, finite
from exporter.cli.where import DEFAULT_URL, REFUSED, login_options, remote_of
from exporter.healthcheck import trouble

TIMEOUT_SECONDS = 5.0


@click.command()
@click.option("--servers", is_flag=True, help="Every server has to be seen, too.")
@click.option(
    "--wait", default=0.0, callback=finite, metavar="SECONDS", help="Ask again for so long."
)
@login_options
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where it is.")
def healthcheck(wait: float, *, servers: bool, **where: Any) -> None:  # noqa: ANN401  the shared options
    """Ask a running pgheadroom whether it is ready. Exit status 1 if it is not.

    A log-in is needed only where the pages ask for one, and only for --servers.
    """
    # Nobody is there to be asked for a password, and a supervisor does not wait for long.
    remote = replace(remote_of(**where, ask=False), timeout=TIMEOUT_SECONDS)
    found = trouble(remote, wait, servers=servers)
    if found:
        fail(found, REFUSED)
    click.echo("every server is seen" if servers else "ready")
