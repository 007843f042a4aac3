"""The HTTP server: uvicorn on the process's own loop, its signals left to `app`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from exporter.web.api import alerts, healthz, holders, readyz
from exporter.web.compatibility import Compatibility
from exporter.web.page import page
from exporter.web.port import Port
from exporter.web.scrape import Scrape

TICK_SECONDS = 1.0


class ListenError(Exception):
    """The address cannot be listened on."""


def application(port: Port) -> Starlette:
    """Every address that pgheadroom answers."""
    compatibility = Compatibility(port)
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/metrics", Scrape(port, compatibility).metrics),
            Route("/probe", compatibility.probe),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/alerts", alerts),
            Route("/api/v1/holders", holders),
        ]
    )
    app.state.port = port
    return app


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything else is started.

    Raises:
        ListenError: the address is taken, or not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --listen"
        ) from None
    sock.setblocking(False)  # noqa: FBT003  the standard library's signature
    # asyncio sets it only where a socket names its protocol, and this one does not: without it the
    # second part of an answer on a kept connection waits 40 ms for the reader's acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `app` stops everything in its order."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Wake once a second for the Date header; uvicorn's ten times cost as much as the polls."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), TICK_SECONDS)

    def leave(self) -> None:
        """Answer what is under way and end."""
        self.should_exit = True
        self._leaving.set()


class Web:
    """The server as a part that starts and stops."""

    def __init__(self, port: Port, sock: socket.socket) -> None:
        self._sock = sock
        config = uvicorn.Config(
            application(port),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT as bound."""
        host, port = self._sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Serve, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=[self._sock])
        )

    async def stop(self, seconds: float) -> None:
        """Answer what is under way for at most `seconds`, then close."""
        self._server.leave()
        if self._task is None:
            self._sock.close()
            return
        _, late = await asyncio.wait({self._task}, timeout=seconds)
        for task in late:
            task.cancel()
