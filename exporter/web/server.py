"""The HTTP server: uvicorn on the process's own loop, its signals left to `app`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from email.utils import formatdate
from typing import cast

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.web import WebConfig
from exporter.web.api import alerts, healthz, holders, readyz
from exporter.web.compatibility import Compatibility
from exporter.web.door import Door
from exporter.web.line import BoundedProtocol
from exporter.web.login import Authentication, Login
from exporter.web.page import page
from exporter.web.port import Port
from exporter.web.scrape import Scrape
from exporter.web.silences import Silences
from exporter.web.tls import tls_context


class ListenError(Exception):
    """The address cannot be listened on."""


def application(port: Port, login: Login | None = None) -> Starlette:
    """Every address that pgheadroom answers, and who may ask."""
    compatibility, login = Compatibility(port), login or Login()
    silences = Silences(login)
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/metrics", Scrape(port, compatibility).metrics),
            Route("/probe", compatibility.probe),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/alerts", alerts),
            Route("/api/v1/holders", holders),
            Route("/api/v1/silences", silences.every, methods=["GET", "POST"]),
            Route("/api/v1/silences/{id}", silences.one, methods=["DELETE"]),
        ],
        middleware=[Middleware(_Dated), Middleware(Authentication, login=login)],
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


class _Dated:
    """Says when an answer was made (RFC 9110, 6.6.1); uvicorn wakes ten times a second for that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Date"] = formatdate(usegmt=True)
            await send(message)

        await self._app(scope, receive, dated)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: `app` stops everything in its order."""

    def __init__(self, config: uvicorn.Config, sock: socket.socket) -> None:
        super().__init__(config)
        self._sock = sock
        self._door: Door | None = None
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  uvicorn's own
        """Listen, and be ready."""
        await self.lifespan.startup()
        config, state = self.config, self.server_state
        self._door = Door(
            self._sock, lambda: BoundedProtocol(config, state, self.lifespan.state), config.ssl
        )
        self.servers = [cast("asyncio.Server", self._door)]
        self.started = True

    def switch(self, tls: ssl.SSLContext | None) -> None:
        """Meet clients with `tls` from now on; those that are here are answered and sent away."""
        if self._door is None:
            self.config.ssl = tls
            return
        self._door.tls = tls
        for connection in tuple(self.server_state.connections):
            connection.shutdown()

    async def main_loop(self) -> None:
        """Sleep until the end; uvicorn's ten looks a second cost as much as the polls."""
        await self._leaving.wait()

    def leave(self) -> None:
        """Answer what is under way and end."""
        self.should_exit = True
        self._leaving.set()


class Web:
    """The server as a part that starts and stops.

    Raises:
        ConfigError: a file of `security` cannot be used.
    """

    def __init__(self, port: Port, sock: socket.socket, security: WebConfig | None = None) -> None:
        self._sock = sock
        security = security or WebConfig()
        self._login = Login(security.basic_auth_users)
        config = uvicorn.Config(
            application(port, self._login),
            log_config=None,
            access_log=False,
            lifespan="off",
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        tls = security.tls_server_config
        config.load()
        config.ssl = None if tls is None else tls_context(tls)
        self._secured = config.ssl is not None
        self._server = _Server(config, sock)
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT as bound."""
        host, port = self._sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def follow(self, security: WebConfig) -> None:
        """Take up other users, certificates and demands on those of clients.

        Raises:
            ConfigError: a file cannot be used; everything is as before.
        """
        tls = security.tls_server_config
        context = None if tls is None else tls_context(tls)
        if self._secured or context is not None:
            self._server.switch(context)
        self._secured = context is not None
        self._login.follow(security.basic_auth_users)

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
