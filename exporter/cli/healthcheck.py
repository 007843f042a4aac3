"""`pgheadroom healthcheck`: whether a running one is ready, as a container asks."""

from __future__ import annotations

from typing import Any

import click

from exporter.cli.options import fail
from exporter.cli.where import REFUSED, remote_of, remote_options
from exporter.healthcheck import trouble


@click.command()
@click.option("--servers", is_flag=True, help="Every server has to be seen, too.")
@click.option("--wait", default=0.0, metavar="SECONDS", help="Ask again for so long.")
@remote_options
def healthcheck(wait: float, *, servers: bool, **where: Any) -> None:  # noqa: ANN401  the shared options
    """Ask a running pgheadroom whether it is ready. Exit status 1 if it is not."""
    found = trouble(remote_of(**where), wait, servers=servers)
    if found:
        fail(found, REFUSED)
    click.echo("every server is seen" if servers else "ready")
