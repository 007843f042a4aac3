"""Reading credentials, which whoever closes a session or a probe can end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from exporter.snapshot.server import Failure, Reason
from exporter.sources.errors import SourceError

CLOSED = Failure(Reason.NETWORK, "the session has ended")

Params = dict[str, str]


class Reading:
    """At most one reading of connection parameters; a program may take seconds for a password."""

    def __init__(self) -> None:
        self._task: asyncio.Future[Params] | None = None

    async def params(self, source: Awaitable[Params]) -> Params:
        """What `source` gives.

        Raises:
            SourceError: `source` failed, or `cancel` was called meanwhile.
        """
        self._task = asyncio.ensure_future(source)
        try:
            return await self._task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            raise SourceError(CLOSED) from None
        finally:
            self._task = None

    def cancel(self) -> None:
        """End the reading that is under way."""
        if self._task is not None:
            self._task.cancel()
