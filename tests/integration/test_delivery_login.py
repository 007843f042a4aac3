"""Nobody is sent a log-in but the one that the configuration gives them."""

from __future__ import annotations

import asyncio
import base64

import pytest
from pydantic import SecretStr

from exporter.config.alerting import WebhookReceiver
from exporter.config.heartbeat import Heartbeat as HeartbeatConfig
from exporter.notify.heartbeat import Heartbeat
from exporter.notify.webhook import Webhook
from tests.support.notifications import notification
from tests.support.receivers import HttpReceiver


@pytest.fixture(autouse=True)
def _netrc(tmp_path, monkeypatch):
    """The user's own file, which has a log-in for every host."""
    path = tmp_path / "netrc"
    path.write_text("default login stranger password hunter2\n")
    monkeypatch.setenv("NETRC", str(path))


def basic(login: bytes) -> str:
    return f"Basic {base64.b64encode(login).decode()}"


def test_a_receiver_is_logged_in_to_as_it_is_configured(tmp_path):
    token = tmp_path / "token"
    token.write_text("ours")
    with HttpReceiver() as hook:
        own = hook.url.replace("http://", "http://u:p%3Aw@")
        for login in (
            {"url": hook.url},
            {"url": hook.url, "bearer_token_file": token},
            {"url": hook.url, "basic_auth": {"username": "ann", "password": "s3cret"}},
            {"url": own},
        ):
            config = {"type": "webhook", "name": "hook"} | login
            Webhook(WebhookReceiver.model_validate(config)).send(notification())
    sent = [request.headers.get("Authorization") for request in hook.requests]
    assert sent == [None, "Bearer ours", basic(b"ann:s3cret"), basic(b"u:p:w")]


def test_a_heartbeat_is_logged_in_to_as_its_address_says():
    with HttpReceiver() as listener:
        for url in (listener.url, listener.url.replace("http://", "http://u:p%3Aw@")):
            asyncio.run(Heartbeat(HeartbeatConfig(url=SecretStr(url)), lambda: "").turn())
    sent = [request.headers.get("Authorization") for request in listener.requests]
    assert sent == [None, basic(b"u:p:w")]
