"""Real Alertmanagers, and ones that hang or are not there: each alert stands, and ends once."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.alerting.notification import Severity, Transition
from exporter.config.alerting import AlertmanagerReceiver, WebhookReceiver
from exporter.config.alerting import Receiver as ReceiverConfig
from exporter.config.http import BasicAuth
from exporter.demo.postgres import free_port
from exporter.demo.watcher import free_address
from exporter.notify.alertmanager import Alertmanager
from exporter.notify.clock import Clocks
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.receiver import DeliveryError, Pace, Reason
from exporter.notify.store import StateStore
from exporter.notify.trial import try_receivers
from exporter.notify.webhook import Webhook
from tests.support.notifications import notification
from tests.support.peers import alertmanager
from tests.support.receivers import Answer, HttpReceiver, eventually

OPENED, ESCALATED, RESOLVED = Transition.OPENED, Transition.ESCALATED, Transition.RESOLVED
RESEND = 0.2


class Fast(Alertmanager):
    pace = Pace(1e6, 1000)


def receiver(*urls: str, resend=RESEND, **options) -> Fast:
    options = {"name": "am", "timeout": 0.5} | options
    config = AlertmanagerReceiver(type="alertmanager", urls=urls, resend=resend, **options)
    return Fast(config)


@pytest.fixture
def outboxes(tmp_path):
    """Starts an outbox on the same state, as often as it is called; the one before is stopped."""
    running: list[Outbox] = []

    def stop() -> None:
        while running:
            running.pop().stop(1.0)

    def start(*receivers) -> Outbox:
        stop()
        store = StateStore(tmp_path / "state", retry_seconds=0.02)
        clocks = Clocks(chance=lambda: 0.0)
        running.append(Outbox(store, Dispatcher(receivers, store, clocks=clocks)))
        running[0].start()
        return running[0]

    yield start
    stop()


def tell(outbox: Outbox, transition=OPENED, severity=Severity.CRITICAL, **changes) -> None:
    now = time.time()
    told = notification(transition, severity=severity, at=now, **({"opened_at": now} | changes))
    outbox.tell_now({}, [("am", told)], timeout=5)


def statuses(hook: HttpReceiver) -> list[tuple[str, str]]:
    """What Alertmanager's own receiver was told, in order."""
    told = [request.json for request in hook.requests]
    return [(each["commonLabels"]["severity"], each["status"]) for each in told]


def test_a_real_alertmanager_tells_each_severity_once_and_its_end(tmp_path: Path, outboxes):
    with HttpReceiver() as hook, alertmanager(tmp_path / "a", hook.url) as am:
        outbox = outboxes(receiver(am.url, resend=1.0))
        tell(outbox, severity=Severity.WARNING)
        hook.wait_for(1)
        tell(outbox, ESCALATED)
        hook.wait_for(3)
        (alert,) = am.alerts()
        assert alert["labels"]["alertname"] == "PgheadroomConnections"
        assert alert["labels"]["env"] == "prod"
        assert "checkout" in alert["annotations"]["holders"]
        first = alert["endsAt"]
        eventually(lambda: am.alerts()[0]["endsAt"] > first, "it is sent again")
        tell(outbox, RESOLVED)
        hook.wait_for(4)
    assert sorted(statuses(hook)[:3]) == [
        ("critical", "firing"), ("warning", "firing"), ("warning", "resolved"),
    ]  # fmt: skip
    assert statuses(hook)[3:] == [("critical", "resolved")]


def test_an_alert_stands_with_a_new_process_and_with_an_alertmanager_that_lost_it(
    tmp_path, outboxes
):
    listen = free_address()
    with HttpReceiver() as hook:
        with alertmanager(tmp_path / "a", hook.url, listen) as am:
            tell(outboxes(receiver(am.url)))
            hook.wait_for(1)
        # Alertmanager keeps no alerts over its own end; this one has forgotten what it told, too.
        outbox = outboxes(receiver(am.url))
        with alertmanager(tmp_path / "b", hook.url, listen) as am:
            eventually(lambda: len(am.alerts()) == 1, "the alert stands again", 20)
            tell(outbox, RESOLVED)
            eventually(lambda: am.alerts() == [], "and ends")


def test_members_that_hang_or_are_not_there_delay_no_other(outboxes):
    absent = f"http://127.0.0.1:{free_port()}"
    with HttpReceiver() as good, HttpReceiver(otherwise=Answer(delay=30)) as hanging:
        outbox = outboxes(receiver(hanging.url, absent, good.url, resend=60, timeout=5))
        began = time.monotonic()
        for number in range(3):
            tell(outbox, incident=f"i{number}")
        third = good.wait_for(3)[2]
        # All three before the first request to the one that hangs had given up.
        assert third.at - began < 5
        eventually(lambda: outbox.store.pending_rows() == (), "delivered")


def test_a_member_that_was_away_is_told_what_stands_and_what_ended(outboxes):
    port = free_port()
    with HttpReceiver() as good:
        outbox = outboxes(receiver(good.url, f"http://127.0.0.1:{port}"))
        tell(outbox, incident="open", server="a")
        tell(outbox, incident="over", server="b")
        delivered(outbox)
        tell(outbox, RESOLVED, incident="over", server="b")
        delivered(outbox)
        with HttpReceiver(port=port) as back:
            alerts: list = []

            def both() -> bool:
                alerts[:] = request_alerts(back.requests[-1]) if back.requests else []
                return len(alerts) == 2

            eventually(both, "both are sent")
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert {each["labels"]["server"] for each in alerts if each["endsAt"] < now} <= {"b"}
    assert {each["labels"]["server"] for each in alerts if each["endsAt"] > now} >= {"a"}


def delivered(outbox: Outbox) -> None:
    eventually(lambda: outbox.store.pending_rows() == (), "delivered")


def request_alerts(request) -> list:
    """The alerts of one request: an array, not an object."""
    return list(request.json)


def test_what_stood_with_a_receiver_that_is_gone_does_not_stand_when_it_is_back(outboxes):
    with HttpReceiver() as good:
        tell(outboxes(receiver(good.url)))
        good.wait_for(2)
        assert outboxes().store.keys("standing/") == ()
        before = len(good.requests)
        outbox = outboxes(receiver(good.url))
        tell(outbox, incident="another")
        later = good.wait_for(before + 3)[before:]
    assert {len(request_alerts(each)) for each in later} == {1}


def test_what_stands_goes_on_under_a_receivers_new_name(outboxes):
    with HttpReceiver() as good:
        outbox = outboxes(receiver(good.url))
        tell(outbox)
        delivered(outbox)
        renamed = receiver(good.url, name="other")
        outbox.dispatcher.reload([renamed], {"am": "other"})
        assert outbox.store.keys("standing/") == ("standing/other",)
        before = len(good.requests)
        later = good.wait_for(before + 2)[before:]
    assert [len(request_alerts(each)) for each in later] == [1, 1]


def ends(requests) -> list[str]:
    """When the only alert of each of `requests` ends: an open one later with each sending."""
    return [alert["endsAt"] for request in requests for alert in request_alerts(request)]


@pytest.mark.parametrize("status", [401, 404, 400])
def test_an_end_that_was_refused_is_sent_again_instead_of_what_ended(outboxes, status):
    with HttpReceiver() as am:
        outbox = outboxes(receiver(am.url))
        tell(outbox)
        delivered(outbox)
        am.otherwise = Answer(status, "")
        tell(outbox, RESOLVED)
        eventually(lambda: outbox.store.health().dead == 1, "given up")
        am.otherwise = Answer()
        before = len(am.requests)
        assert len(set(ends(am.wait_for(before + 3)[before:]))) == 1


@pytest.mark.parametrize(("status", "stands"), [(401, True), (404, True), (400, False)])
def test_an_alert_that_was_refused_for_a_moment_stands(outboxes, status, stands):
    with HttpReceiver(otherwise=Answer(status, "")) as am:
        outbox = outboxes(receiver(am.url))
        tell(outbox)
        eventually(lambda: outbox.store.health().dead == 1, "given up")
        assert bool(outbox.store.keys("standing/")) is stands
        if stands:
            before = len(am.requests)
            am.otherwise = Answer()
            later = ends(am.wait_for(before + 3)[before:])
            assert later == sorted(set(later))


@pytest.mark.parametrize(
    ("answers", "permanent"), [((500, 400), False), ((400, 404), True), ((503, 503), False)]
)
def test_it_is_refused_for_good_only_if_every_member_refuses_it(answers, permanent):
    first, second = (Answer(status, "no") for status in answers)
    with HttpReceiver(otherwise=first) as one, HttpReceiver(otherwise=second) as two:
        with pytest.raises(DeliveryError) as caught:
            receiver(one.url, two.url).send(notification())
        assert caught.value.permanent is permanent


def test_failing_to_send_again_is_seen_in_the_receivers_telemetry(outboxes):
    with HttpReceiver() as good:
        outbox = outboxes(receiver(good.url))
        tell(outbox)
        good.wait_for(2)
        good.otherwise = Answer(503, "no")
        eventually(lambda: outbox.dispatcher.telemetry()[0].failing, "it fails")
        good.otherwise = Answer()
        eventually(lambda: not outbox.dispatcher.telemetry()[0].failing, "it works again")


def test_a_test_begins_and_ends_at_alertmanager_and_webhook(tmp_path):
    login = BasicAuth(username="u", password=SecretStr("p:w"))
    with HttpReceiver() as hook, alertmanager(tmp_path / "a", hook.url) as am:
        configs: list[ReceiverConfig] = [
            AlertmanagerReceiver(type="alertmanager", name="am", urls=(am.url,)),
            WebhookReceiver(
                type="webhook", name="hook", url=SecretStr(f"{hook.url}/own"), basic_auth=login,
                headers={"X-Team": SecretStr("db")},
            ),
        ]  # fmt: skip
        assert dict(try_receivers(configs, "test")) == {"am": None, "hook": None}
        assert am.alerts() == []
        own = [request for request in hook.requests if request.path == "/own"]
    assert [each.json["status"] for each in own] == ["firing", "resolved"]
    sent = own[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"u:p:w"
    assert own[0].headers["X-Team"] == "db"


SECRET = "T0000XSECRETXB0000"


def test_a_token_is_read_anew_for_each_attempt_and_told_nowhere(tmp_path):
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    with HttpReceiver() as good:
        config = WebhookReceiver(
            type="webhook", name="w", url=SecretStr(f"{good.url}/{SECRET}"), bearer_token_file=token
        )
        to = Webhook(config)
        to.send(notification())
        token.write_text("another")
        to.send(notification())
        sent = [request.headers["Authorization"] for request in good.requests]
        assert sent == [f"Bearer {SECRET}", "Bearer another"]
        good.otherwise = Answer(403, SECRET)
        with pytest.raises(DeliveryError) as refused:
            to.send(notification())
        token.unlink()
        with pytest.raises(DeliveryError) as unreadable:
            to.send(notification())
    assert refused.value.reason is Reason.AUTH
    assert unreadable.value.reason is Reason.CONFIG
    assert not refused.value.ambiguous
    assert SECRET not in f"{refused.value}{unreadable.value}{config!r}"


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [(201, None, False), (204, None, False), (302, Reason.REDIRECT, False),
     (400, Reason.PAYLOAD, True), (404, Reason.GONE, True), (410, Reason.GONE, True),
     (429, Reason.RATE_LIMITED, False), (500, Reason.SERVER, False)],
)  # fmt: skip
def test_answers_of_a_webhook(status, reason, permanent):
    with HttpReceiver(otherwise=Answer(status, "")) as server:
        to = Webhook(WebhookReceiver(type="webhook", name="w", url=SecretStr(server.url)))
        if reason is None:
            to.send(notification())
            return
        with pytest.raises(DeliveryError) as caught:
            to.send(notification())
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
