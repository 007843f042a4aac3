"""A Slack and a PagerDuty on loopback: they accept what is sent and note when it came."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from exporter.demo.slack import slack_text

ROUTING_KEY = "demo0000000000000000000000000000"
"""As long as a real integration key, and worth nothing."""
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """One message that arrived at `at`, on the monotonic clock."""

    at: float
    receiver: Literal["slack", "pagerduty"]
    payload: dict[str, Any]

    @property
    def is_page(self) -> bool:
        """Whether it makes a telephone ring: a PagerDuty trigger of severity critical."""
        return (
            self.receiver == "pagerduty"
            and self.payload.get("event_action") == "trigger"
            and self._details.get("severity") == "critical"
        )

    @property
    def text(self) -> str:
        """What a person reads: PagerDuty's summary, or the whole of the Slack message."""
        if self.receiver == "slack":
            return slack_text(self.payload)
        action = str(self.payload.get("event_action", ""))
        return str(self._details.get("summary") or action)

    @property
    def headline(self) -> str:
        """The first line of `text`."""
        return next(iter(self.text.splitlines()), "")

    @property
    def _details(self) -> dict[str, Any]:
        details = self.payload.get("payload")
        return details if isinstance(details, dict) else {}


class Receiver:
    """The two vendors' endpoints on a free port of loopback; a context manager.

    A post to `slack_url` is answered `ok`, one to `pagerduty_url` 202, as the vendors do
    (https://developer.pagerduty.com/docs/send-alert-event,
    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
    """

    def __init__(self) -> None:
        self._messages: list[Received] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._messages))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="demo-receiver", daemon=True
        )

    @property
    def url(self) -> str:
        """The address that both endpoints are under."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def slack_url(self) -> str:
        """For `webhook_url` of a Slack receiver."""
        return f"{self.url}/slack"

    @property
    def pagerduty_url(self) -> str:
        """For `url` of a PagerDuty receiver."""
        return f"{self.url}/pagerduty"

    @property
    def messages(self) -> tuple[Received, ...]:
        """Everything received, in the order of arrival."""
        return tuple(self._messages)

    @property
    def pages(self) -> tuple[Received, ...]:
        """What would have rung a telephone, in the order of arrival."""
        return tuple(message for message in self.messages if message.is_page)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(messages: list[Received]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            at = time.monotonic()
            receiver = self.path.strip("/")
            try:
                size = min(int(self.headers.get("Content-Length", "0")), _LARGEST)
                payload = json.loads(self.rfile.read(size))
            except ValueError:
                return self._answer(400, "text/plain", b"invalid_payload")
            if not isinstance(payload, dict):
                return self._answer(400, "text/plain", b"invalid_payload")
            if receiver == "slack":
                messages.append(Received(at, "slack", payload))
                return self._answer(200, "text/html", b"ok")
            if receiver == "pagerduty":
                messages.append(Received(at, "pagerduty", payload))
                return self._answer(202, "application/json", _accepted(payload))
            return self._answer(404, "text/plain", b"no_service")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class' name
            """Stay silent: the terminal belongs to the demo."""

    return Handler


def _accepted(payload: dict[str, Any]) -> bytes:
    answer = {
        "status": "success",
        "message": "Event processed",
        "dedup_key": payload.get("dedup_key", ""),
    }
    return json.dumps(answer).encode()
