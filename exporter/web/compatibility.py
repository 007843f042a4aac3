"""Where the series of the peers are: on `/metrics` with one server or pooler, else on `/probe`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from exporter.alerting.board import Entry, PoolerEntry
from exporter.metrics.caps import Cap
from exporter.metrics.compatibility import compatible_families
from exporter.metrics.families import CONTENT_TYPE, Families, render
from exporter.metrics.pool_view import Client
from exporter.metrics.pooler_compatibility import compatible_pooler_families
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
        self._client_caps: dict[str, Cap[Client]] = {}

    def on_metrics(self) -> Families:
        """The series of the only server, and of the only pooler; none where they are off.

        Every peer watches one, so a sum over all of a scrape's series is of one.
        """
        if not self._port.compatibility():
            return ()
        kinds: tuple[Sequence[Entry | PoolerEntry], ...] = (
            tuple(self._port.board),
            self._port.board.poolers,
        )
        return tuple(
            family
            for entries in kinds
            if len(entries) == 1
            for family in self._families(entries[0])
        )

    async def probe(self, request: Request) -> Response:
        """`/probe?target=NAME`: the series of one server or pooler, from what is stored."""
        if not self._port.compatibility():
            return PlainTextResponse("metrics.compatibility is off\n", status_code=404)
        target = request.query_params.get("target")
        known = ", ".join(entry.name for entry in self._port.board.endpoints)
        if not target:
            return PlainTextResponse(
                f"name one of them: /probe?target=NAME; there are: {known}\n", status_code=400
            )
        entry = self._entry(target)
        if entry is None:
            # The target is not quoted: people put DSNs with passwords there.
            return PlainTextResponse(
                f"nothing has that name or address; there are: {known}\n", status_code=404
            )
        return Response(render(self._families(entry)), media_type=CONTENT_TYPE)

    def _entry(self, target: str) -> Entry | PoolerEntry | None:
        board = self._port.board
        named = board.get(target) or board.get_pooler(target)
        found = _TARGET.fullmatch(target)
        if named is not None or found is None:
            return named
        address = f"{found[1]}:{found[2] or _DEFAULT_PORT}"
        return board.get(self._port.addresses().get(address, ""))

    def _families(self, entry: Entry | PoolerEntry) -> Families:
        if not entry.turns:
            return ()
        if isinstance(entry, PoolerEntry):
            client_cap = self._client_caps.setdefault(entry.name, Cap())
            return compatible_pooler_families(entry.state, client_cap, self._port.clock())
        cap = self._caps.setdefault(entry.state.server, Cap())
        return compatible_families(entry.state, entry.turns, cap, self._port.clock())
