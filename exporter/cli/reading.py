"""The configuration that a command is given."""

from __future__ import annotations

import os
from pathlib import Path

import click

from exporter.cli.options import fail
from exporter.config.errors import ConfigError
from exporter.config.model import Config, listen_address
from exporter.reload import Origin


def origin_of(path: Path | None, **changes: object) -> Origin:
    """Where the configuration is, and the command line's values that go over it."""
    return Origin(path, os.environ, {k: v for k, v in changes.items() if v is not None})


def read(origin: Origin) -> Config:
    """The configuration, or exit status 2."""
    try:
        return origin.read()
    except ConfigError as error:
        fail(str(error))


def address(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """HOST:PORT as given, or how it is to be written."""
    if value is not None:
        try:
            listen_address(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value
