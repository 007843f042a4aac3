"""The dead man's switch: silent when something is wrong, and never a word of its address."""

from __future__ import annotations

import asyncio
import logging

import pytest
from pydantic import SecretStr

from exporter.alerting.notification import Severity
from exporter.config.alerting import WebhookReceiver
from exporter.config.heartbeat import Heartbeat as HeartbeatConfig
from exporter.notify.clock import Clocks
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.heartbeat import Heartbeat
from exporter.notify.outbox import Outbox
from exporter.notify.store import StateStore
from exporter.notify.webhook import Webhook
from tests.support.notifications import notification
from tests.support.receivers import Answer, HttpReceiver, eventually

SECRET = "T0000XSECRETXB0000"


def heartbeat(url, silence=""):
    config = HeartbeatConfig(url=SecretStr(f"{url}/{SECRET}"), timeout=0.5)
    return Heartbeat(config, lambda: silence)


def test_it_asks_while_nothing_is_wrong():
    with HttpReceiver() as listener:
        beat = heartbeat(listener.url)
        asyncio.run(beat.turn())
        assert beat.successful
        assert [request.path for request in listener.requests] == [f"/{SECRET}"]
        assert listener.requests[0].body == b""
        silent = heartbeat(listener.url, "the loop is late")
        asyncio.run(silent.turn())
        assert not silent.successful
        assert len(listener.requests) == 1


@pytest.mark.parametrize("answer", [Answer(404), Answer(500), Answer(silent=True), Answer(302)])
def test_what_goes_wrong_is_said_once_without_the_address(answer, caplog):
    caplog.set_level(logging.DEBUG)
    with HttpReceiver(otherwise=answer) as listener:
        beat = heartbeat(listener.url)
        asyncio.run(beat.turn())
        asyncio.run(beat.turn())
        assert not beat.successful
        listener.otherwise = Answer(204, "")
        asyncio.run(beat.turn())
    assert beat.successful
    said = [each.getMessage() for each in caplog.records if "notify" in each.name]
    assert [text.partition(" error")[0] for text in said] == ["no heartbeat", "heartbeat again"]
    assert SECRET not in caplog.text


def test_the_outbox_is_in_trouble_while_a_critical_notification_is_late(tmp_path):
    now = [1000.0]
    clocks = Clocks(steady=lambda: now[0], wall=lambda: now[0], chance=lambda: 1.0)
    with HttpReceiver(otherwise=Answer(503)) as server:
        hook = Webhook(WebhookReceiver(type="webhook", name="hook", url=SecretStr(server.url)))
        store = StateStore(tmp_path, clock=lambda: now[0])
        outbox = Outbox(store, Dispatcher([hook], store, clocks=clocks))
        assert outbox.trouble(60) == "a receiver's thread has ended"
        outbox.start()
        outbox.tell_now({}, [("hook", notification(severity=Severity.WARNING))])
        server.wait_for(1)
        now[0] += 100
        assert outbox.trouble(60) == ""
        outbox.tell_now({}, [("hook", notification(incident="two"))])
        now[0] += 59
        assert outbox.trouble(60) == ""
        now[0] += 1
        assert outbox.trouble(60) == "a critical notification is undelivered at hook"
        server.otherwise = Answer(200)
        now[0] += 100
        outbox.tell_now({}, [("hook", notification(incident="three"))])
        eventually(lambda: outbox.trouble(60) == "", "delivered")
        outbox.stop()
        assert outbox.trouble(60) == "the writer of the outbox has ended"
