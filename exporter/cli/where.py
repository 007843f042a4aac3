"""Which running pgheadroom a command asks, and as whom."""

from __future__ import annotations

import os
from pathlib import Path

import click

from exporter.cli.options import Command, fail
from exporter.remote import Remote

#: A running pgheadroom that was left at its default address.
DEFAULT_URL = "http://127.0.0.1:9970"
#: How a command ends that was right, but was not granted.
REFUSED = 1


def login_options(command: Command) -> Command:
    """Who asks, and whom to trust."""
    for option in (
        click.option(
            "--password-file",
            type=click.Path(dir_okay=False, exists=True, path_type=Path),
            help="A file with the password alone; else PGHEADROOM_PASSWORD is used.",
        ),
        click.option("--user", envvar="PGHEADROOM_USER", help="To log in with."),
        click.option(
            "--ca-file",
            type=click.Path(dir_okay=False, exists=True, path_type=Path),
            help="Whose certificate to trust, where the address is https.",
        ),
        click.option("--insecure", is_flag=True, help="Take any certificate."),
    ):
        command = option(command)
    return command


def remote_options(command: Command) -> Command:
    """Where the pgheadroom is, and who asks."""
    url = click.option("--url", envvar="PGHEADROOM_URL", default=DEFAULT_URL, show_default=True)
    return login_options(url(command))


def remote_of(  # noqa: PLR0913  the options
    url: str,
    user: str | None,
    ca_file: Path | None,
    password_file: Path | None,
    *,
    insecure: bool,
    ask: bool = True,
) -> Remote:
    """What the shared options come to.

    A password that is nowhere else is asked for; without `ask` there is then no log-in.
    """
    try:
        password = _password(password_file)
    except (OSError, UnicodeDecodeError):
        fail(f"{password_file} cannot be read as text", REFUSED)
    if user is not None and password is None and ask:
        password = str(click.prompt(f"Password of {user}", hide_input=True, err=True))
    if user is None or password is None:
        return Remote(url, ca_file=ca_file, insecure=insecure)
    return Remote(url, user, password, ca_file, insecure)


def _password(file: Path | None) -> str | None:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    return os.environ.get("PGHEADROOM_PASSWORD") or None
