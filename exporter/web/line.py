"""One client's connection: how long it may take, and how many of them there may be.

Every connection is an open file, and so is every session and every delivery: clients that open many
and say nothing must not keep a page from leaving. uvicorn sets no limit before a whole request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds for a question, its answer and the reading of it; Prometheus itself gives a scrape 10 s.
PATIENCE_SECONDS = 15.0
#: Clients at one time. Another takes the place of the one that was answered longest ago, or never.
MOST_CLIENTS = 100


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 with a client whose patience is not waited for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own
        super().__init__(*args, **kwargs)
        self.since = 0.0
        """When it came, or was last answered, by the loop's clock."""
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > MOST_CLIENTS:
            others = (each for each in self.connections if isinstance(each, BoundedProtocol))
            min(others, key=lambda each: each.since).end()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next question."""
        self._wait()
        super().on_response_complete()

    def _wait(self) -> None:
        self._stop_waiting()
        self.since = self.loop.time()
        self._limit = self.loop.call_later(PATIENCE_SECONDS, self.end)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()

    def end(self) -> None:
        """Cut the line."""
        self.connections.discard(self)
        self.transport.abort()
