"""Options that several commands have, and how a command gives up."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from exporter.cli.lines import visible

BAD_INPUT = 2
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
#: Words for the first line of what `check` and `doctor` say of an endpoint, by exit status.
WORDS = {0: "ok", 1: "WARNING", 2: "CRITICAL", 3: "NOT SEEN"}
Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(
    without: str = "DATABASE_URL, SLACK_WEBHOOK_URL and PAGERDUTY_ROUTING_KEY do",
) -> Callable[[Command], Command]:
    """`--config`; the help says what happens without it."""
    return click.option(
        "--config",
        "path",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="PGHEADROOM_CONFIG",
        help=f"The YAML file. Without it {without}.",
    )


def finite(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """A number as given, unless it is `nan` or `inf`, which click takes for numbers."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number to count with")
    return value


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Say why, and end."""
    for line in f"pgheadroom: {message}".split("\n"):
        click.echo(visible(line), err=True)
    sys.exit(code)
