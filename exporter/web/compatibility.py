"""Where the series of postgres_exporter are: on `/metrics` with one server, else on `/probe`."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from exporter.alerting.board import Entry
from exporter.metrics.caps import Cap
from exporter.metrics.compatibility import compatible_families
from exporter.metrics.families import CONTENT_TYPE, Families, render
from exporter.metrics.view import Who
from exporter.web.port import Port

#: The address in the targets that postgres_exporter takes: HOST, HOST:PORT or a DSN's URL.
_TARGET = re.compile(r"(?:\w+://)?(?:[^@/]*@)?(\[[^\]]*\]|[^:/?]+)(?::(\d+))?(?:[/?].*)?")
_DEFAULT_PORT = "5432"


class Compatibility:
    """Makes the series when they are asked for: the rules of pgheadroom itself do not read them."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._caps: dict[str, Cap[Who]] = {}

    def on_metrics(self) -> Families:
        """The series of the only server; none where there are several, or where they are off.

        Every peer watches one server, so a sum over all of a scrape's series is one server's.
        """
        entries = list(self._port.board)
        if not self._port.compatibility() or len(entries) != 1:
            return ()
        return self._families(entries[0])

    async def probe(self, request: Request) -> Response:
        """`/probe?target=NAME`: the series of one server, from what is stored."""
        if not self._port.compatibility():
            return PlainTextResponse("metrics.compatibility is off\n", status_code=404)
        target = request.query_params.get("target")
        known = ", ".join(entry.state.server for entry in self._port.board)
        if not target:
            return PlainTextResponse(
                f"name a server: /probe?target=NAME; there are: {known}\n", status_code=400
            )
        entry = self._entry(target)
        if entry is None:
            # The target is not quoted: people put DSNs with passwords there.
            return PlainTextResponse(
                f"no server has that name or address; there are: {known}\n", status_code=404
            )
        return Response(render(self._families(entry)), media_type=CONTENT_TYPE)

    def _entry(self, target: str) -> Entry | None:
        board = self._port.board
        named = board.get(target)
        found = _TARGET.fullmatch(target)
        if named is not None or found is None:
            return named
        address = f"{found[1]}:{found[2] or _DEFAULT_PORT}"
        return board.get(self._port.addresses().get(address, ""))

    def _families(self, entry: Entry) -> Families:
        if not entry.turns:
            return ()
        cap = self._caps.setdefault(entry.state.server, Cap())
        return compatible_families(entry.state, entry.turns, cap, self._port.clock())
