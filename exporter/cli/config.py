"""`pgheadroom config check|schema`: the configuration file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from exporter.cli.options import config_option
from exporter.cli.reading import origin_of, read
from exporter.config.model import Config


@click.group()
def config() -> None:
    """The configuration file."""


@config.command()
@config_option()
def check(path: Path | None) -> None:
    """Say everything that is wrong with it. No server is asked."""
    found = read(origin_of(path))
    names = ", ".join(server.name for server in found.servers)
    receivers = ", ".join(each.name for each in found.receivers) or "none: nobody will be told"
    click.echo(f"{path or 'environment'}: fine. Servers: {names}. Receivers: {receivers}.")


@config.command()
def schema() -> None:
    """Print its JSON schema."""
    click.echo(json.dumps(Config.model_json_schema(), indent=2))
