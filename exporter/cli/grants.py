"""`pgheadroom grants`: the SQL that an administrator runs once."""

from __future__ import annotations

import click

from exporter.cli.options import fail
from exporter.sources.grants import grants_sql


@click.command()
@click.option("--role", default="pgheadroom", show_default=True, help="The role to make.")
def grants(role: str) -> None:
    """Print the SQL that an administrator runs once."""
    try:
        click.echo(grants_sql(role), nl=False)
    except ValueError as error:
        fail(f"--role: {error}")
