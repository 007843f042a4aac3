"""`pgheadroom silence add|list|expire`: asks a running pgheadroom through its API."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import click

from exporter.cli.lines import print_line
from exporter.cli.options import fail
from exporter.cli.where import REFUSED, remote_of, remote_options
from exporter.remote import RefusedError, Remote

_UNQUOTED = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*((?:[^"\\]|\\.)*?)(\\?)\s*')


def matcher(text: str) -> str:
    r"""A matcher as the API takes it; shells eat quotes, so they may be left out.

    A backslash at the end is itself there, and would escape the closing quote here.

    >>> matcher("server=prod"), matcher('env=~"a|b"')
    ('server="prod"', 'env=~"a|b"')
    >>> print(matcher(r"server=~db\d+"), matcher("server=a\\"))
    server=~"db\d+" server="a\\"
    """
    found = _UNQUOTED.fullmatch(text)
    return f'{found[1]}{found[2]}"{found[3]}{found[4] * 2}"' if found else text


def _asked(remote: Remote, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  JSON
    try:
        return remote.ask(method, f"/api/v1/silences{path}", body, _warn)
    except RefusedError as error:
        fail(str(error), REFUSED)


def _warn(text: str) -> None:
    # Not to stdout: scripts take the id from there.
    print_line(f"warning: {text}", err=True)


@contextmanager
def _as_pgheadroom(remote: Remote) -> Iterator[None]:
    """Says so where another program's answer has another form, as Alertmanager's has."""
    try:
        yield
    except (KeyError, TypeError, AttributeError):
        fail(f"{remote.url} answers, but not as pgheadroom does", REFUSED)


def _user() -> str:
    """Who is logged in; a container's user need not have a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise click.UsageError("your user has no name here; say who you are: --author") from None


@click.group()
def silence() -> None:
    """What a running pgheadroom does not tell for a while."""


@silence.command()
@click.argument("matchers", nargs=-1, required=True)
@click.option("-d", "--duration", help="For how long, such as 30m or 2h.")
@click.option("--until", help="Or until when: ISO 8601, with a time zone.")
@click.option("--from", "begins", help="From when on; now if left out.")
@click.option("-c", "--comment", required=True, help="Why.")
@click.option("-a", "--author", default=_user, help="Who; you if left out.")
@remote_options
def add(  # noqa: PLR0913, PLR0917  each is an option
    matchers: tuple[str, ...],
    duration: str | None,
    until: str | None,
    begins: str | None,
    comment: str,
    author: str,
    **where: Any,  # noqa: ANN401  the shared options
) -> None:
    """Silence alerts that meet all MATCHERS, such as server=prod alertname=~"Pool.*".

    That no slot is left is silenced only by its alertname. Prints the silence's id.
    """
    asked = {
        "matchers": [matcher(each) for each in matchers],
        "author": author,
        "comment": comment,
        "duration": duration,
        "ends_at": until,
        "starts_at": begins,
    }
    body = {key: value for key, value in asked.items() if value is not None}
    remote = remote_of(**where)
    with _as_pgheadroom(remote):
        print_line(_asked(remote, "POST", "", body)["id"])


@silence.command("list")
@click.option("--expired", is_flag=True, help="Those of the last day that are over, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@remote_options
def list_(*, expired: bool, as_json: bool, **where: Any) -> None:  # noqa: ANN401  the shared options
    """Print the silences that hold or are to come, the next to end first."""
    remote = remote_of(**where)
    with _as_pgheadroom(remote):
        found = _asked(remote, "GET", "")["silences"]
        shown = [each for each in found if expired or each["state"] != "expired"]
        lines = [line for each in shown for line in _lines(each)]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for line in lines:
        print_line(line)


def _lines(silence: Mapping[str, Any]) -> tuple[str, ...]:
    head = "{id}  {state:<7}  until {ends_at}  {author}".format_map(silence)
    return head, f"  {', '.join(silence['matchers'])}", f"  {silence['comment']}"


@silence.command()
@click.argument("ids", nargs=-1, required=True)
@remote_options
def expire(ids: tuple[str, ...], **where: Any) -> None:  # noqa: ANN401  the shared options
    """End silences now; what they kept quiet and still fires is told at once."""
    remote = remote_of(**where)
    for each in ids:
        _asked(remote, "DELETE", f"/{quote(each, safe='')}")
        print_line(f"{each} expired")
