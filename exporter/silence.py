"""`pgheadroom silence add|list|expire`: asks a running pgheadroom through its API."""

from __future__ import annotations

import base64
import getpass
import http.client
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import click

DEFAULT_URL = "http://127.0.0.1:9970"
_TIMEOUT_SECONDS = 15.0
_UNQUOTED = re.compile(r'\s*(\w+)\s*(=~|!~|!=|=)\s*([^"\s][^"]*|)\s*')
Command = TypeVar("Command", bound=Callable[..., Any])


class RefusedError(Exception):
    """The pgheadroom did not do what it was asked; says why."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A running pgheadroom.

    Args:
        url: its base address, http or https.
        user: the name to log in with; None: nobody.
        password: that user's.
        ca_file: whose certificate to trust besides those that the machine trusts.
    """

    url: str
    user: str | None = None
    password: str = field(default="", repr=False)
    ca_file: Path | None = None

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  JSON
        """The `data` of its answer.

        Raises:
            RefusedError: it did not answer, or not with success.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if self.user is not None:
            login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        try:
            return json.loads(self._answer(method, path, data, headers))["data"]
        except urllib.error.HTTPError as error:
            raise RefusedError(_refusal(error)) from None
        except (KeyError, TypeError, json.JSONDecodeError):
            raise RefusedError(f"{self.url} answers, but not as pgheadroom does") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise RefusedError(f"{self.url} does not answer: {reason}") from None

    def _answer(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("write an address that begins with http:// or https://")
        request = urllib.request.Request(  # noqa: S310  checked above
            f"{self.url.rstrip('/')}{path}", data, headers, method=method
        )
        context = ssl.create_default_context(cafile=self.ca_file)
        # Straight there: a proxy in the environment is for the receivers.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
            found: bytes = answer.read()
        return found


def _refusal(error: urllib.error.HTTPError) -> str:
    text = error.read(4000).decode("utf-8", "replace").strip()
    if error.code == http.HTTPStatus.UNAUTHORIZED:
        return "the log-in was refused; check --user and the password"
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answers {error.code}: {text[:300]}"


def matcher(text: str) -> str:
    """A matcher as the API takes it; shells eat quotes, so they may be left out.

    >>> matcher("server=prod"), matcher('env=~"a|b"')
    ('server="prod"', 'env=~"a|b"')
    """
    found = _UNQUOTED.fullmatch(text)
    return f'{found[1]}{found[2]}"{found[3]}"' if found else text


def _options(command: Command) -> Command:
    """Where the pgheadroom is, and who asks."""
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
        click.option("--url", envvar="PGHEADROOM_URL", default=DEFAULT_URL, show_default=True),
    ):
        command = option(command)
    return command


def _remote(url: str, user: str | None, ca_file: Path | None, password_file: Path | None) -> Remote:
    if user is None:
        return Remote(url, ca_file=ca_file)
    try:
        password = _password(user, password_file)
    except (OSError, UnicodeDecodeError):
        _fail(f"{password_file} cannot be read as text")
    return Remote(url, user, password, ca_file)


def _password(user: str, file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    known = os.environ.get("PGHEADROOM_PASSWORD")
    return known or str(click.prompt(f"Password of {user}", hide_input=True, err=True))


def _fail(message: str) -> NoReturn:
    click.echo(f"pgheadroom: {message}", err=True)
    sys.exit(1)


def _asked(remote: Remote, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  JSON
    try:
        return remote.ask(method, f"/api/v1/silences{path}", body)
    except RefusedError as error:
        _fail(str(error))


@click.group()
def silence() -> None:
    """What a running pgheadroom does not tell for a while."""


@silence.command()
@click.argument("matchers", nargs=-1, required=True)
@click.option("-d", "--duration", help="For how long, such as 30m or 2h.")
@click.option("--until", help="Or until when: ISO 8601, with a time zone.")
@click.option("--from", "begins", help="From when on; now if left out.")
@click.option("-c", "--comment", required=True, help="Why.")
@click.option("-a", "--author", default=getpass.getuser, help="Who; you if left out.")
@_options
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
    made = _asked(_remote(**where), "POST", "", body)
    click.echo(made["id"])


@silence.command("list")
@click.option("--expired", is_flag=True, help="Those of the last day that are over, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@_options
def list_(*, expired: bool, as_json: bool, **where: Any) -> None:  # noqa: ANN401  the shared options
    """Print the silences that hold or are to come, the next to end first."""
    found = _asked(_remote(**where), "GET", "")["silences"]
    shown = [each for each in found if expired or each["state"] != "expired"]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    for each in shown:
        click.echo(f"{each['id']}  {each['state']:<7}  until {each['ends_at']}  {each['author']}")
        click.echo(f"  {', '.join(each['matchers'])}")
        click.echo(f"  {each['comment']}")


@silence.command()
@click.argument("ids", nargs=-1, required=True)
@_options
def expire(ids: tuple[str, ...], **where: Any) -> None:  # noqa: ANN401  the shared options
    """End silences now; what they kept quiet and still fires is told at once."""
    remote = _remote(**where)
    for each in ids:
        _asked(remote, "DELETE", f"/{quote(each, safe='')}")
        click.echo(f"{each} expired")
