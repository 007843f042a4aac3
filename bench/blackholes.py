"""Servers that are worse than dead: they take what comes to them, and say nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

_BACKLOG = 1
#: Connections that nobody accepts: as many as the kernel completes for that backlog, and then some.
_FILLING = 8


class Silent:
    """Accepts every connection on a port of loopback, and never answers: a frozen process."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._held.append(self._listener.accept()[0])

    def close(self) -> None:
        """Drop every connection."""
        # Closing alone would leave the thread in its accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *self._held):
            each.close()


class Full:
    """A port of loopback whose backlog is full: what knocks is dropped, as by a firewall."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self._knocking: list[socket.socket] = []
        for _ in range(_FILLING):
            knock = socket.socket()
            knock.setblocking(False)  # noqa: FBT003  the standard library's signature
            knock.connect_ex(("127.0.0.1", self.port))
            self._knocking.append(knock)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Give the port back."""
        for each in (*self._knocking, self._listener):
            each.close()


class BlackHoles:
    """Several of both kinds, in turn; a context manager."""

    def __init__(self, number: int) -> None:
        self._holes = [Full() if turn % 2 else Silent() for turn in range(number)]

    def dsns(self) -> list[str]:
        """Where they are, as a watcher is told."""
        return [f"postgresql://pgheadroom@127.0.0.1:{hole.port}/postgres" for hole in self._holes]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hole in self._holes:
            hole.close()
