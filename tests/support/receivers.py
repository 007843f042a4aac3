"""A real HTTP receiver on a free loopback port, which records requests and answers by a script."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """What one request gets. `delay` in seconds; `silent` closes without a byte of an answer.

    `raw` is sent instead of an HTTP answer.
    """

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    silent: bool = False
    raw: bytes | None = None


SLACK_OK = Answer()
PAGERDUTY_OK = Answer(202, '{"status":"success","message":"Event processed"}')


@dataclass(frozen=True)
class Received:
    """One request; `at` is the steady clock's."""

    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class HttpReceiver:
    """Answers each request with the next of `script`, and with `otherwise` when that is used up."""

    def __init__(self, *script: Answer, otherwise: Answer = SLACK_OK, port: int = 0) -> None:
        self.script = deque(script)
        self.otherwise = otherwise
        self.choose: Callable[[Received], Answer | None] = lambda _: None
        self.requests: list[Received] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._serve(self)

            do_GET = do_POST  # noqa: N815  the base class looks for this name

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        received = Received(time.monotonic(), handler.path, dict(handler.headers), body)
        with self._changed:
            self.requests.append(received)
            answer = self.choose(received) or (
                self.script.popleft() if self.script else self.otherwise
            )
            self._changed.notify_all()
        self._closed.wait(answer.delay)
        handler.close_connection = True
        if answer.silent or self._closed.is_set():
            return
        try:
            self._answer(handler, answer)
        except OSError:
            return  # the client gave up, which is what some tests are about

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.raw is not None:
            handler.wfile.write(answer.raw)
            return
        body = answer.body.encode()
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Received]:
        """The requests so far, once there are `count` of them; fails after `seconds`."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.requests) >= count, seconds)
            found = list(self.requests)
        assert enough, f"{len(found)} of {count} requests arrived within {seconds} s"
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def eventually(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait until `condition()` holds; fails with `what` after `seconds`."""
    until = time.monotonic() + seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        tick.wait(0.005)
