"""Who may come in: connections are counted from the moment that they are accepted.

asyncio's own server knows of a client when its TLS handshake is over. Until then thousands that say
nothing would each keep a file open, and a page needs one to leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable

from exporter.web.line import MOST_CLIENTS, BoundedProtocol

log = logging.getLogger(__name__)

#: A client that does not speak TLS is none.
_HANDSHAKE_SECONDS = 10.0
#: Clients that are accepted in one go, and that the system accepts for us ahead of time.
_BACKLOG = 32
#: Without a file for another client: how long none is accepted, and how often that is said.
_PAUSE_SECONDS, _QUIET_SECONDS = 1.0, 60.0


class Door:
    """Lets clients in on the running loop, plainly or over TLS as `tls` is when they come.

    Args:
        sock: bound; it is not closed with the door.
        protocol: makes what talks with one client.
        tls: the server's certificate, None for none.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: Callable[[], BoundedProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._sock = sock
        self._protocol = protocol
        self.tls = tls
        self._loop = asyncio.get_running_loop()
        self._coming: dict[socket.socket, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._said_at = float("-inf")
        sock.listen(_BACKLOG)
        self._open()

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self._closed = True
        self._loop.remove_reader(self._sock)
        while self._coming:
            self._send_away()

    async def wait_closed(self) -> None:
        """Wait for those who were just coming."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    def _open(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                client, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            client.setblocking(False)  # noqa: FBT003  the standard library's signature
            self._greet(client)

    def _greet(self, client: socket.socket) -> None:
        """Let `client` come; one too many takes the place of the one that takes longest."""
        self._coming[client] = None
        task = self._loop.create_task(self._let_in(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if len(self._coming) > MOST_CLIENTS:
            self._send_away()

    def _send_away(self) -> None:
        """End the one that has been coming for longest, from below: its handshake fails."""
        client = next(iter(self._coming))
        del self._coming[client]
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    async def _let_in(self, client: socket.socket) -> None:
        seconds = None if self.tls is None else _HANDSHAKE_SECONDS
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, client, ssl=self.tls, ssl_handshake_timeout=seconds
            )
        except OSError:
            # No TLS, none that we speak, or too slow; an SSLError is an OSError too.
            client.close()
        finally:
            self._coming.pop(client, None)

    def _pause(self, error: OSError) -> None:
        """Wait for a file to become free: the next look would find none either."""
        self._loop.remove_reader(self._sock)
        self._loop.call_later(_PAUSE_SECONDS, self._open)
        now = time.monotonic()
        if now - self._said_at >= _QUIET_SECONDS:
            self._said_at = now
            log.warning("no client can be let in", extra={"error": str(error.strerror)})
