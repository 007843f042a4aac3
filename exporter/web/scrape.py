"""`/metrics`: a rendering kept until the board changes, plus the few series that age meanwhile."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from exporter.metrics.alerts import alert_families
from exporter.metrics.families import CONTENT_TYPE, Families, merged, render
from exporter.metrics.watcher import aged_families, without_aged
from exporter.web.api import books
from exporter.web.compatibility import Compatibility
from exporter.web.port import Port
from exporter.web.process import own_process


class Scrape:
    """Renders for Prometheus; reads the board, never a database."""

    def __init__(self, port: Port, compatibility: Compatibility) -> None:
        self._port = port
        self._compatibility = compatibility
        self._generation = -1
        self._kept = b""

    async def metrics(self, _request: Request) -> Response:
        """The Prometheus text format."""
        return Response(self.text(), media_type=CONTENT_TYPE)

    def text(self) -> bytes:
        """The exposition as of now."""
        board, now = self._port.board, self._port.clock()
        if board.generation != self._generation:
            self._generation = board.generation
            groups = [without_aged(entry.families) for entry in board.endpoints]
            self._kept = render((*merged(groups), *self._compatibility.on_metrics()))
        aged = merged(aged_families(entry.state, now) for entry in board.endpoints)
        own = (*self._port.own_families(), *own_process())
        return self._kept + render((*aged, *self._alerts(), *own))

    def _alerts(self) -> Families:
        alerts = (alert for book in books(self._port) for alert in book.alerts.values())
        return alert_families((alert.labels, alert.state.value) for alert in alerts)
