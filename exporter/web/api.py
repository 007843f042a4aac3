"""Answers for programs: health, alerts as Prometheus gives them, and the top holders."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert
from exporter.alerting.board import Entry
from exporter.alerting.message import describe
from exporter.web.port import Port

TOP_HOLDERS = 20
#: How long an answer waits for poolers to say whom they serve.
ATTRIBUTION_SECONDS = 3.0


def port_of(request: Request) -> Port:
    """What `app` handed in."""
    port: Port = request.app.state.port
    return port


def books(port: Port) -> Iterator[Book]:
    """The alerts of every server and pooler, then those about pgheadroom itself."""
    yield from (entry.book for entry in port.board.endpoints)
    yield port.own_book()


async def healthz(request: Request) -> Response:
    """200 while the loops turn, whatever the databases do."""
    if port_of(request).alive():
        return PlainTextResponse("ok\n")
    return PlainTextResponse("the polling loop has stopped\n", status_code=503)


async def readyz(request: Request) -> Response:
    """200 once every server and pooler has been tried, whatever came of it."""
    waiting = [entry.name for entry in port_of(request).board.endpoints if not entry.turns]
    if not waiting:
        return PlainTextResponse("ready\n")
    return PlainTextResponse(f"not yet polled: {', '.join(waiting)}\n", status_code=503)


async def alerts(request: Request) -> Response:
    """The pending and firing alerts, in the form of Prometheus' `/api/v1/alerts`.

    Besides, `mutedBy` says why a firing alert is not told, where something mutes it.
    """
    found = [_alert(alert) for book in books(port_of(request)) for alert in book.alerts.values()]
    return JSONResponse({"status": "success", "data": {"alerts": found}})


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": datetime.fromtimestamp(alert.active_at, UTC).isoformat(),
        "value": str(alert.value),
        **({"mutedBy": alert.muted_by} if alert.muted_by else {}),
    }


async def holders(request: Request) -> Response:
    """Who holds the slots of each server (`?server=NAME` for one), largest first."""
    port = port_of(request)
    wanted = request.query_params.get("server")
    if wanted is not None and port.board.get(wanted) is None:
        known = ", ".join(entry.state.server for entry in port.board)
        message = f"no server is named {wanted!r}; there are: {known}"
        return JSONResponse({"status": "error", "error": message}, status_code=404)
    if port.attribute is not None:
        names = [wanted] if wanted else [entry.name for entry in port.board]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ATTRIBUTION_SECONDS):
                await port.attribute(names)
    chosen = [entry for entry in port.board if wanted in (None, entry.state.server)]
    data = [_server(entry, port.clock()) for entry in chosen]
    return JSONResponse({"status": "success", "data": {"servers": data}})


def _server(entry: Entry, now: float) -> dict[str, Any]:
    situation = describe(entry.state, entry.before, now, top=TOP_HOLDERS)
    return {"server": entry.state.server, "up": entry.state.up, **asdict(situation)}
