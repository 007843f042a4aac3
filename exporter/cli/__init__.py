"""The commands, a file for each; only the one that is asked for is loaded.

All of them together take most of a second, and a container asks for `healthcheck` every few.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import cast

import click

from exporter import __version__

#: What a command is called, where it is, and what `--help` says of it.
COMMANDS = ("check", "config", "demo", "doctor", "grants", "healthcheck", "notify", "rules", "run",
            "silence")  # fmt: skip


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  as above
        """The command, which has the name of its file and of its function."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"{__name__}.{cmd_name}")
        return cast("click.Command", getattr(module, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """What is meant, or what may have been meant."""
        near = get_close_matches(args[0], COMMANDS, 1)
        if args[0] not in COMMANDS and near:
            # click suggests only commands that it has loaded.
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgheadroom")
def main() -> None:
    """Page before Postgres runs out of connections, and say who is eating them."""
