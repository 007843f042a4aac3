"""What commands print for people.

Names come from clients: anybody who can log in chooses an application name, and a terminal would
obey what is written in it.
"""

from __future__ import annotations

import click


def visible(text: str) -> str:
    r"""`text` with an escape for each character that would move, hide or colour others.

    >>> visible("app\x1b[31m\u202e é")
    'app\\x1b[31m\\u202e é'
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def print_line(text: str, *, bold: bool = False, err: bool = False) -> None:
    """Print `text` on one line; `err` is whether to stderr."""
    click.secho(visible(text), bold=bold, err=err)
