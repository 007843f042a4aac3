"""Receivers that limit, fail, talk nonsense, dawdle or are not there, all told of one incident."""

from __future__ import annotations

import contextlib

from exporter.demo.postgres import free_port
from tests.support.postgres import sessions
from tests.support.receivers import PAGERDUTY_OK, SLACK_OK, Answer, HttpReceiver
from tests.support.watching import Samples, Watching, events, prepare, watched, watching

USABLE = 17
FULL = USABLE - 1
TIMEOUT = 0.5
#: Only exhaustion is told, so that there is exactly one thing to open and one to resolve.
THRESHOLDS = {"connections_warning": None, "connections_critical": None}
RETRY_AFTER_SECONDS = 2
LIMITED = Answer(429, "rate_limited", {"Retry-After": str(RETRY_AFTER_SECONDS)})
BROKEN = Answer(500, "oops")
LATE = Answer(202, delay=2 * TIMEOUT)
SILENT = Answer(silent=True)
GARBAGE = Answer(200, "<html>Welcome to the hotel's wireless network</html>")


#: What each receiver answers first, to the page and again to its resolve; then it accepts.
FAILURES: dict[str, tuple[Answer, ...]] = {
    "good": (),
    "limited": (LIMITED,),
    "broken": (BROKEN, BROKEN),
    "garbage": (GARBAGE,),
    "slow": (LATE, SILENT),
}
SLACKS = ("limited", "garbage")


def settings(name: str, port: int) -> dict[str, object]:
    url = f"http://127.0.0.1:{port}/{name}"
    if name in SLACKS:
        kind = {"type": "slack", "webhook_url": url}
    else:
        kind = {"type": "pagerduty", "routing_key": "k" * 32, "url": url}
    return {"name": name, "timeout": TIMEOUT, **kind}


def told(receiver: HttpReceiver, name: str) -> list[str]:
    """ "trigger" and "resolve", in order, also where Slack is told in words."""
    if name in SLACKS:
        texts = [request.json["text"] for request in receiver.requests]
        return ["resolve" if "resolved" in text.lower() else "trigger" for text in texts]
    return [each.action for each in events(receiver)]


def test_each_receiver_hears_of_an_incident_once_and_in_order(tmp_path, start_postgres):
    server = prepare(start_postgres(18, max_connections=20))
    absent_port = free_port()
    with contextlib.ExitStack() as stack:
        receivers = {
            name: stack.enter_context(
                HttpReceiver(*failures, otherwise=SLACK_OK if name in SLACKS else PAGERDUTY_OK)
            )
            for name, failures in FAILURES.items()
        }
        told_of = [settings(name, each.port) for name, each in receivers.items()]
        told_of.append(settings("absent", absent_port))
        watch = watching(tmp_path, [watched(server)], told_of, thresholds=THRESHOLDS)
        stack.enter_context(watch.running())
        with sessions(server, FULL, user="app"):
            watch.wait_for_used(USABLE)
            (page,) = receivers["good"].wait_for(1)
            receivers["absent"] = stack.enter_context(
                HttpReceiver(otherwise=PAGERDUTY_OK, port=absent_port)
            )
            delivered(watch, 1)
            first, second = receivers["limited"].requests
            assert second.at - first.at >= RETRY_AFTER_SECONDS
            # The others had not answered yet, or were waiting as they were told to.
            assert page.at < min(second.at, receivers["slow"].requests[1].at)
            for name, failures in FAILURES.items():
                receivers[name].script.extend(failures)
        delivered(watch, 2)
        seen = watch.scrape()
    for name, receiver in receivers.items():
        tries = len(FAILURES.get(name, ())) + 1
        assert told(receiver, name) == ["trigger"] * tries + ["resolve"] * tries, name
        assert count(seen, name, "failed") == 2 * (tries - 1) or name == "absent"
        assert count(seen, name, "dead") == 0
        if name not in SLACKS:
            assert len({each.dedup_key for each in events(receiver)}) == 1
            assert len({each.incident for each in events(receiver)}) == 1
    assert count(seen, "absent", "failed") >= 1


def count(seen: Samples, name: str, outcome: str) -> float:
    return seen.one("pgheadroom_notifications_total", receiver=name, outcome=outcome)


def delivered(watch: Watching, number: int) -> None:
    """Wait until every receiver has accepted `number` notifications, and nothing is pending."""
    names = (*FAILURES, "absent")
    watch.wait_for(
        f"{number} delivered to each",
        lambda s: all(count(s, name, "delivered") == number for name in names),
        20,
    )
    assert set(watch.scrape().all("pgheadroom_outbox_pending")) == {0}
