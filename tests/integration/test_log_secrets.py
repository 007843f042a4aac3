"""What libraries would log of the secrets that pass through them, at the most talkative level."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from exporter.config import events
from exporter.config.alerting import WebhookReceiver
from exporter.config.credentials import Credentials
from exporter.config.heartbeat import Heartbeat as HeartbeatConfig
from exporter.config.model import Log
from exporter.notify.heartbeat import Heartbeat
from exporter.notify.webhook import Webhook
from exporter.sources.credentials import login
from tests.support.notifications import notification
from tests.support.receivers import Answer, HttpReceiver

SECRET = "T0000XSECRETXB0000"
MALFORMED = Answer(
    raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nfoo bar\r\nX: y\r\nConnection: close\r\n\r\nok"
)
ROLE = f"""
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>{SECRET}key</SecretAccessKey>
<SessionToken>{SECRET}session</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>
"""


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The log is set up as `run` does it, which alone must hold the libraries down."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    events.set_up(Log(level="debug"))
    yield
    logging.getLogger("test").debug("talkative")
    assert "talkative" in caplog.text
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_address_of_an_answer_with_a_malformed_header_is_not_logged(caplog):
    with HttpReceiver(otherwise=MALFORMED) as server:
        address = SecretStr(f"{server.url}/{SECRET}")
        hook = WebhookReceiver(type="webhook", name="hook", url=address)
        Webhook(hook).send(notification())
        beat = Heartbeat(HeartbeatConfig(url=address), lambda: "")
        asyncio.run(beat.turn())
        assert beat.successful
        assert len(server.requests) == 2
    assert SECRET not in caplog.text


def test_what_a_token_of_aws_is_made_of_is_not_logged(monkeypatch, tmp_path, caplog):
    identity = tmp_path / "identity"
    identity.write_text(f"{SECRET}identity")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/watching")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(identity))
    # A region of its own: clients are kept.
    rds = {"dsn": SecretStr("postgresql://w@db.example.com"), "rds_iam": {"region": "eu-north-1"}}
    with HttpReceiver(otherwise=Answer(200, ROLE, {"Content-Type": "text/xml"})) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        password = asyncio.run(login(Credentials.model_validate(rds)))["password"]
    assert f"{SECRET}session" in password
    assert SECRET not in caplog.text
    assert password.rpartition("X-Amz-Signature=")[2] not in caplog.text
