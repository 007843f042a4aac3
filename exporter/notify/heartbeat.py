"""A dead man's switch: while all is well an address is asked for, so that silence is an alarm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from exporter.config.heartbeat import Heartbeat as HeartbeatConfig
from exporter.notify.http import Poster, secret
from exporter.notify.receiver import DeliveryError

_log = logging.getLogger(__name__)

_SUCCESS = range(200, 300)
#: A page that has not been delivered for this long may never be: somebody else must be told.
UNDELIVERED_SECONDS = 60.0


class Heartbeat:
    """Asks for one address; `silence` says why it must not be, or nothing."""

    def __init__(self, config: HeartbeatConfig, silence: Callable[[], str]) -> None:
        self.config = config
        self._silence = silence
        self._poster = Poster(config.timeout)
        self._error = ""
        self.successful = True
        """Whether the last turn reached the address; true before the first."""

    async def turn(self) -> None:
        """Ask once, unless something is wrong. What goes wrong is logged when it changes."""
        error = self._silence() or await asyncio.to_thread(self._ping)
        self.successful = not error
        if error and error != self._error:
            _log.warning("no heartbeat error=%s", error)
        elif self._error and not error:
            _log.info("heartbeat again")
        self._error = error

    def _ping(self) -> str:
        """Ask; what went wrong, without the address."""
        try:
            reply = self._poster.get(secret(self.config.address, "url"))
        except DeliveryError as error:
            return error.message
        return "" if reply.status in _SUCCESS else f"the address answered {reply.status}"
