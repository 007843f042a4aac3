"""A running pgheadroom, asked through its API."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
        insecure: take any certificate.
        timeout: seconds for connecting, and again for the answer.
    """

    url: str
    user: str | None = None
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    insecure: bool = False
    timeout: float = 15.0

    def text(self, path: str) -> str:
        """What it answers to GET.

        Raises:
            RefusedError: it did not answer, or not with success.
        """
        return self._asked("GET", path, None).decode("utf-8", "replace")

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Any:  # noqa: ANN401  JSON
        """The `data` of its answer; `warn` is called with each of its `warnings`.

        Raises:
            RefusedError: it did not answer, or not with success.
        """
        try:
            answer = json.loads(self._asked(method, path, body))
            data, warnings = answer["data"], list(map(str, answer.get("warnings", ())))
        except (KeyError, TypeError, ValueError):
            raise RefusedError(f"{self.url} answers, but not as pgheadroom does") from None
        for each in warnings:
            warn(each)
        return data

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if self.user is not None:
            login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        try:
            return self._answer(method, path, data, headers)
        except urllib.error.HTTPError as error:
            raise RefusedError(_refusal(error)) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise RefusedError(f"{self.url} does not answer: {reason}") from None

    def _answer(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("write an address that begins with http:// or https://")
        request = urllib.request.Request(  # noqa: S310  checked above
            f"{self.url.rstrip('/')}{path}", data, headers, method=method
        )
        # Straight there: a proxy in the environment is for the receivers.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay, *self._tls())
        with opener.open(request, timeout=self.timeout) as answer:
            found: bytes = answer.read()
        return found

    def _tls(self) -> list[urllib.request.HTTPSHandler]:
        """Whom to trust; reading a machine's certificates takes longer than asking."""
        if not self.url.startswith("https://"):
            return []
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return [urllib.request.HTTPSHandler(context=context)]


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the log-in would be sent along, to whatever host it names."""

    def redirect_request(self, *_: object) -> None:
        """Nothing that could be asked instead."""


def _refusal(error: urllib.error.HTTPError) -> str:
    text = error.read(4000).decode("utf-8", "replace").strip()
    if error.code == http.HTTPStatus.UNAUTHORIZED:
        return "the log-in was refused; check --user and the password"
    if elsewhere := error.headers.get("Location"):
        return f"{error.url} sends elsewhere, to {elsewhere[:300]}; give the right address as --url"
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"{error.url} answers {error.code}: {text[:300]}"
