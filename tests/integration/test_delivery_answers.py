"""What each answer of a vendor, and each lack of one, means; and that no error tells a secret."""

from __future__ import annotations

import logging
import socket
import traceback
from email.utils import formatdate
from time import time

import pytest
from pydantic import SecretStr

from exporter.alerting.notification import Transition
from exporter.config.alerting import PagerDutyReceiver, SlackReceiver, WebhookReceiver
from exporter.notify.receiver import DeliveryError, Reason, Receiver
from exporter.notify.receivers import make_receiver
from tests.support.notifications import notification
from tests.support.receivers import PAGERDUTY_OK, SLACK_OK, Answer, HttpReceiver

SECRET = "T0000XSECRETXB0000"
KINDS = ("slack", "pagerduty")


@pytest.fixture
def server():
    with HttpReceiver() as running:
        yield running


def receiver(kind: str, url: str, timeout: float = 5.0, **options) -> Receiver:
    if kind == "slack":
        address = SecretStr(f"{url}/services/{SECRET}")
        config = {"webhook_url": address} | options
        return make_receiver(SlackReceiver(type="slack", name=kind, timeout=timeout, **config))
    key = {"routing_key": SecretStr(SECRET), "url": f"{url}/v2/enqueue"} | options
    return make_receiver(PagerDutyReceiver(type="pagerduty", name=kind, timeout=timeout, **key))


def refused(kind: str, url: str, **options) -> DeliveryError:
    """The error of one attempt, once it is known that it tells nothing."""
    to = receiver(kind, url, **options)
    with pytest.raises(DeliveryError) as caught:
        to.send(notification())
    error = caught.value
    told = [str(error), repr(error), error.message, repr(to), repr(vars(to)["_config"])]
    told += traceback.format_exception(error)
    assert not [each for each in told if SECRET in each]
    return error


@pytest.fixture(autouse=True)
def _nothing_secret_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    assert not [each for each in caplog.get_records("call") if SECRET in each.getMessage()]


@pytest.mark.parametrize(("kind", "answer"), [("slack", SLACK_OK), ("pagerduty", PAGERDUTY_OK)])
def test_accepted(server, kind, answer):
    server.script.append(answer)
    receiver(kind, server.url).send(notification())
    (request,) = server.requests
    assert request.headers["Content-Type"].startswith("application/json")
    assert request.path == {"slack": f"/services/{SECRET}", "pagerduty": "/v2/enqueue"}[kind]
    text = request.json["text" if kind == "slack" else "payload"]
    assert "pg-prod-1: 83/97" in str(text)


@pytest.mark.parametrize(
    ("status", "body", "reason", "permanent", "ambiguous"),
    [
        (200, "not ok", Reason.UNEXPECTED, False, True),
        (200, "ok\n", Reason.UNEXPECTED, False, True),
        (200, "", Reason.UNEXPECTED, False, True),
        (200, "no_active_hooks", Reason.GONE, True, False),
        (400, "invalid_payload", Reason.PAYLOAD, True, False),
        (400, "no_text", Reason.PAYLOAD, True, False),
        (400, "too_many_attachments", Reason.PAYLOAD, True, False),
        (400, "msg_blocks_too_long", Reason.PAYLOAD, True, False),
        (400, "invalid_token", Reason.AUTH, True, False),
        (400, f"who knows {SECRET}", Reason.PAYLOAD, True, False),
        (403, "action_prohibited", Reason.AUTH, True, False),
        (403, "", Reason.AUTH, True, False),
        (404, "no_service", Reason.GONE, True, False),
        (404, "<html>", Reason.GONE, True, False),
        (408, "", Reason.TIMEOUT, False, True),
        (410, "channel_is_archived", Reason.GONE, True, False),
        (418, "", Reason.PAYLOAD, True, False),
        (429, "", Reason.RATE_LIMITED, False, False),
        (500, "rollup_error", Reason.SERVER, False, True),
        (503, "<html>", Reason.SERVER, False, True),
    ],
)
def test_what_slack_answers(server, *, status, body, reason, permanent, ambiguous):
    server.script.append(Answer(status, body))
    error = refused("slack", server.url)
    assert (error.reason, error.permanent, error.ambiguous) == (reason, permanent, ambiguous)


@pytest.mark.parametrize(
    ("status", "reason", "permanent", "ambiguous", "wait"),
    [
        (200, Reason.UNEXPECTED, False, True, None),
        (400, Reason.PAYLOAD, True, False, None),
        (401, Reason.AUTH, True, False, None),
        (404, Reason.GONE, True, False, None),
        (429, Reason.RATE_LIMITED, False, False, 30.0),
        (500, Reason.SERVER, False, True, None),
        (502, Reason.SERVER, False, True, None),
    ],
)
def test_what_pagerduty_answers(server, *, status, reason, permanent, ambiguous, wait):
    server.script.append(Answer(status, f"invalid key {SECRET}"))
    error = refused("pagerduty", server.url)
    assert (error.reason, error.permanent, error.ambiguous) == (reason, permanent, ambiguous)
    assert error.retry_after == wait


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_passed_on(server, kind, status):
    later = formatdate(time() + 90, usegmt=True)
    server.script += [
        Answer(status, "", {"Retry-After": "17"}),
        Answer(status, "", {"Retry-After": later}),
        Answer(status, "", {"Retry-After": "9" * 5000}),
    ]
    assert refused(kind, server.url).retry_after == 17
    assert 30 < (refused(kind, server.url).retry_after or 0) <= 90
    assert refused(kind, server.url).retry_after == 3600


@pytest.mark.parametrize("kind", KINDS)
def test_redirect_is_not_followed(server, kind):
    with HttpReceiver() as elsewhere:
        server.script.append(Answer(307, "", {"Location": f"{elsewhere.url}/{SECRET}"}))
        error = refused(kind, server.url)
        assert elsewhere.requests == []
    assert (error.reason, error.permanent) == (Reason.REDIRECT, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer",
    [
        Answer(silent=True),
        Answer(raw=b"\x00\xff garbage \r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nok"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"),
    ],
    ids=["no answer", "garbage", "cut short", "broken chunks", "broken after ok"],
)
def test_lost_answer_is_ambiguous(server, kind, answer):
    server.script.append(answer)
    error = refused(kind, server.url)
    assert error.reason in (Reason.NETWORK, Reason.UNEXPECTED)
    assert error.ambiguous
    assert not error.permanent


@pytest.mark.parametrize(
    "answer",
    [
        Answer(raw=b"HTTP/1.1 202 Accepted\r\nContent-Length: 10\r\n\r\nok"),
        Answer(raw=b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        Answer(202, "ok", {"Content-Encoding": "gzip"}),
        Answer(202, "x" * 1_000_000),
    ],
    ids=["cut short", "broken chunks", "not compressed", "endless"],
)
def test_a_bad_body_does_not_take_back_the_status(server, answer):
    server.script += [answer, answer]
    receiver("pagerduty", server.url).send(notification())
    hook = WebhookReceiver(type="webhook", name="hook", url=SecretStr(f"{server.url}/{SECRET}"))
    make_receiver(hook).send(notification())
    assert len(server.requests) == 2


def test_a_status_counts_whose_body_does_not_come(server):
    server.script.append(Answer(raw=b"HTTP/1.1 403 no\r\nContent-Length: 10\r\n\r\n"))
    assert refused("slack", server.url).reason is Reason.AUTH


@pytest.mark.parametrize("kind", KINDS)
def test_broken_headers_are_not_logged_with_the_address(server, kind):
    server.script.append(Answer(raw=b"HTTP/1.1 500 no\r\nthis is no header\r\n\r\n"))
    assert refused(kind, server.url).reason is Reason.SERVER


@pytest.mark.parametrize("kind", KINDS)
def test_endless_answer_is_cut(server, kind):
    server.script.append(Answer(500, "x" * 1_000_000))
    assert refused(kind, server.url).reason is Reason.SERVER


@pytest.mark.parametrize("kind", KINDS)
def test_late_answer_is_a_timeout_and_ambiguous(server, kind):
    server.script.append(Answer(delay=60))
    error = refused(kind, server.url, timeout=0.05)
    assert (error.reason, error.ambiguous, error.permanent) == (Reason.TIMEOUT, True, False)


@pytest.mark.parametrize("kind", KINDS)
def test_refused_connection_is_not_ambiguous(kind):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = refused(kind, f"http://127.0.0.1:{port}")
    assert (error.reason, error.ambiguous, error.permanent) == (Reason.NETWORK, False, False)


@pytest.mark.parametrize("kind", KINDS)
def test_tls_against_a_server_without_it(server, kind):
    error = refused(kind, server.url.replace("http://", "https://"))
    assert (error.reason, error.permanent) == (Reason.TLS, False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://" + "a" * 300])
def test_unusable_address_is_the_configurations(kind, url):
    error = refused(kind, url)
    assert error.reason in (Reason.CONFIG, Reason.NETWORK)
    assert not error.permanent


@pytest.mark.parametrize(
    ("kind", "text", "option"),
    [
        ("slack", "{url}/services/" + SECRET, "webhook_url"),
        ("pagerduty", SECRET, "routing_key"),
    ],
)
def test_secret_file_is_read_for_each_attempt(server, tmp_path, kind, text, option):
    file = tmp_path / "secret"
    file.write_text(text.format(url=server.url) + "\n")
    to = receiver(kind, server.url, **{option: None, f"{option}_file": file})
    file.unlink()
    with pytest.raises(DeliveryError, match=f"cannot read {option}_file: No such file") as caught:
        to.send(notification())
    assert (caught.value.reason, caught.value.permanent) == (Reason.CONFIG, False)
    file.write_text("")
    with pytest.raises(DeliveryError, match="is empty"):
        to.send(notification())
    file.write_text(text.format(url=server.url))
    server.otherwise = SLACK_OK if kind == "slack" else PAGERDUTY_OK
    to.send(notification())
    assert SECRET in server.requests[-1].path + server.requests[-1].body.decode()


def test_a_test_is_triggered_and_resolved_at_pagerduty(server):
    server.otherwise = PAGERDUTY_OK
    receiver("pagerduty", server.url).send(notification(Transition.TEST))
    sent = [request.json for request in server.requests]
    assert [each["event_action"] for each in sent] == ["trigger", "resolve"]
    assert {each["dedup_key"] for each in sent} == {"key-one"}
    assert sent[0]["payload"]["severity"] == "info"
    assert sent[0]["payload"]["summary"].startswith("TEST")
