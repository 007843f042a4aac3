"""`/api/v1/silences`: listed for everybody who sees the pages, changed only with a log-in."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from exporter.alerting.silences import Changed
from exporter.web.api import port_of
from exporter.web.login import Login
from exporter.web.port import Silencer

_MOST_BYTES = 65_536
OFF = (
    "silences can be changed only where a log-in is asked for:"
    " set basic_auth_users in the file that web.config_file names"
)


class Silences:
    """The addresses under which silences are listed, added and expired."""

    def __init__(self, login: Login) -> None:
        self._login = login

    async def every(self, request: Request) -> Response:
        """GET lists the silences of the last day, POST adds one."""
        if request.method == "POST":
            silencer = self._silencer(request)
            return _error(403, OFF) if silencer is None else await _added(request, silencer)
        known = port_of(request).silencer
        found = [each.to_dict(known.now) for each in known.listed()] if known is not None else []
        return JSONResponse({"status": "success", "data": {"silences": found}})

    async def one(self, request: Request) -> Response:
        """DELETE expires the silence that the path names."""
        silencer = self._silencer(request)
        if silencer is None:
            return _error(403, OFF)
        silence_id = request.path_params["id"]
        expired = await silencer.expire(silence_id)
        if expired is None:
            return _error(404, f"there is no silence {silence_id!r}")
        return _one(silencer, expired)

    def _silencer(self, request: Request) -> Silencer | None:
        """What changes silences; None where nobody has to log in."""
        return port_of(request).silencer if self._login.required else None


async def _added(request: Request, silencer: Silencer) -> Response:
    # A form on another site can post anything but this type without being asked about it first.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _error(415, "send JSON, with Content-Type: application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return _error(413, f"a silence has at most {_MOST_BYTES} bytes")
    try:
        return _one(silencer, await silencer.add(_parsed(body)), status=201)
    except RecursionError:
        return _error(400, "no silence is nested so deeply")
    except ValueError as error:
        return _error(400, str(error))


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def _one(silencer: Silencer, changed: Changed, status: int = 200) -> Response:
    answer: dict[str, Any] = {"status": "success", "data": changed.silence.to_dict(silencer.now)}
    if changed.warning:
        answer["warnings"] = [changed.warning]
    return JSONResponse(answer, status_code=status)


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": "error", "error": message}, status_code=status)
