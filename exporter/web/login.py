"""Basic authentication, with the bcrypt hashes of a Prometheus `web.config.yml`.

A comparison takes about a tenth of a second of a processor, by design. It runs on a thread of its
own, one after another, so that whoever guesses slows down nobody but other guessers; a log-in that
was right once is remembered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

#: Probes of Kubernetes and load balancers bring no log-in, and learn nothing.
OPEN = frozenset({"/healthz", "/readyz"})
MOST_WAITING = 16
#: Wrong log-ins are logged this often at most, with their number.
LOG_SECONDS = 60.0
_REFUSED = "a name and a password are needed\n"
_MOST_REMEMBERED = 256


class Login:
    """Who may come in: everybody while there are no users."""

    def __init__(self, users: Mapping[str, str] | None = None) -> None:
        self._users = dict(users or {})
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="login")
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, None] = {}
        self._waiting = 0
        self._wrong = 0
        self._said_at = float("-inf")

    @property
    def required(self) -> bool:
        """Whether there are users."""
        return bool(self._users)

    def follow(self, users: Mapping[str, str]) -> None:
        """Let in `users`, by name and bcrypt hash, from now on."""
        self._users = dict(users)

    async def refusal(self, authorization: str | None, client: str) -> Response | None:
        """Why a request with that header is not answered; None if it is."""
        if not self._users:
            return None
        name, password = _parsed(authorization)
        if name is None or password is None:
            return _unauthorized()
        known = self._users.get(name)
        # An unknown name takes as long as a wrong password.
        hashed = next(iter(self._users.values())) if known is None else known
        seen = hmac.digest(self._key, f"{hashed}\n{name}\n{password}".encode(), hashlib.sha256)
        if known is not None and seen in self._right:
            return None
        if self._waiting >= MOST_WAITING:
            return PlainTextResponse(
                "too many log-ins at once\n", status_code=503, headers={"Retry-After": "1"}
            )
        if await self._compare(password, hashed) and known is not None:
            self._remember(seen)
            return None
        self._say(client)
        return _unauthorized()

    async def _compare(self, password: str, hashed: str) -> bool:
        self._waiting += 1
        dearest = max(map(_cost, self._users.values()))
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, _is_right, password, hashed, dearest)
        finally:
            self._waiting -= 1

    def _remember(self, seen: bytes) -> None:
        self._right[seen] = None
        while len(self._right) > _MOST_REMEMBERED:
            del self._right[next(iter(self._right))]

    def _say(self, client: str) -> None:
        self._wrong += 1
        now = time.monotonic()
        if now - self._said_at >= LOG_SECONDS:
            log.warning("log-in refused", extra={"count": self._wrong, "client": client})
            self._said_at, self._wrong = now, 0


class Authentication:
    """Asks for the log-in before anything is answered but `/healthz` and `/readyz`."""

    def __init__(self, app: ASGIApp, login: Login) -> None:
        self._app = app
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            client = scope.get("client")
            refusal = await self._login.refusal(
                Headers(scope=scope).get("authorization"), client[0] if client else ""
            )
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _unauthorized() -> Response:
    return PlainTextResponse(
        _REFUSED,
        status_code=401,
        headers={"WWW-Authenticate": 'Basic realm="pgheadroom", charset="UTF-8"'},
    )


def _parsed(authorization: str | None) -> tuple[str | None, str | None]:
    """Name and password of a `Basic` header (RFC 7617)."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None, None
    name, colon, password = text.partition(":")
    return (name, password) if colon else (None, None)


def _cost(hashed: str) -> int:
    """The binary logarithm of the rounds of a bcrypt hash: 10 of `$2b$10$...`."""
    return int(hashed.split("$")[2])


def _is_right(password: str, hashed: str, dearest: int) -> bool:
    """Whether `password` is that of `hashed`; if not, after as many rounds as `dearest` takes."""
    given = password.encode()
    try:
        if bcrypt.checkpw(given, hashed.encode()):
            return True
        # One cost more is twice the rounds: these and the comparison add up to the dearest.
        for cost in range(_cost(hashed), dearest):
            bcrypt.hashpw(given, bcrypt.gensalt(cost))
    except ValueError:
        pass  # longer than the 72 bytes that bcrypt looks at
    return False
