from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from exporter.demo.receiver import Received, Receiver
from exporter.demo.report import first_texts
from exporter.demo.slack import slack_text


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def post(url: str, body: bytes) -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=5)
    try:
        connection.request("POST", address.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def page(action: str = "trigger", severity: str = "critical") -> dict[str, object]:
    return {
        "event_action": action,
        "dedup_key": "demo/launch/connections",
        "payload": {"summary": "launch-demo: 80 of 97 slots", "severity": severity},
    }


def test_slack_is_answered_ok(receiver: Receiver) -> None:
    before = time.monotonic()
    assert post(receiver.slack_url, b'{"text": "hello"}') == (200, b"ok")
    (message,) = receiver.messages
    assert before <= message.at <= time.monotonic()
    assert message.text == "hello"
    assert receiver.pages == ()


def test_pagerduty_is_answered_accepted_with_the_dedup_key(receiver: Receiver) -> None:
    status, body = post(receiver.pagerduty_url, json.dumps(page()).encode())
    assert status == 202
    assert json.loads(body)["dedup_key"] == "demo/launch/connections"
    assert [each.text for each in receiver.pages] == ["launch-demo: 80 of 97 slots"]


@pytest.mark.parametrize(
    "payload",
    [page(action="resolve"), page(action="acknowledge"), page(severity="warning"), {}],
)
def test_only_a_critical_trigger_is_a_page(receiver: Receiver, payload: dict[str, object]) -> None:
    post(receiver.pagerduty_url, json.dumps(payload).encode())
    assert len(receiver.messages) == 1
    assert receiver.pages == ()


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"\xff\xfe"])
def test_what_is_no_message_is_refused(receiver: Receiver, body: bytes) -> None:
    assert post(receiver.slack_url, body)[0] == 400
    assert receiver.messages == ()


def test_an_unknown_path_is_no_service(receiver: Receiver) -> None:
    assert post(f"{receiver.url}/elsewhere", b"{}")[0] == 404
    assert receiver.messages == ()


def test_the_report_shows_the_first_page_and_the_slack_message_nearest_to_it() -> None:
    warning = Received(1.0, "slack", {"text": "warning"})
    at_page = Received(9.9, "slack", {"text": "critical"})
    paged = Received(10.0, "pagerduty", page())
    later = Received(20.0, "pagerduty", page())
    assert first_texts([warning, at_page, paged, later]) == [at_page, paged]
    assert first_texts([warning]) == [warning]
    assert first_texts([]) == []


def test_a_slack_message_reads_like_plain_text() -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "*80* of 97"}},
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": "*Who:* `checkout` &lt;3\n<http://a/b|Runbook>"},
            "fields": [{"type": "mrkdwn", "text": "*State*\nidle 70"}],
        },
        {"type": "divider"},
        {
            "type": "context",
            "elements": [
                {"type": "mrkdwn", "text": "<!date^1700000000^{time}|14:00>"},
                {"type": "mrkdwn", "text": "<!here>"},
            ],
        },
        {"type": "actions", "elements": [{"type": "button", "text": {"text": "press"}}]},
    ]
    expected = "*80* of 97\nWho: checkout <3\nRunbook (http://a/b)\nState idle 70\n14:00 · @here"
    assert slack_text({"text": "fallback", "blocks": blocks}) == expected
    coloured = {"text": "headline", "attachments": [{"color": "red", "blocks": blocks}]}
    assert slack_text(coloured) == f"headline\n{expected}"


def test_an_attachment_without_blocks_reads_as_its_text() -> None:
    assert slack_text({"attachments": [{"fallback": "old style"}]}) == "old style"
