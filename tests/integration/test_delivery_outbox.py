"""From `tell` to the receiver: at least once, in order, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from exporter.alerting.notification import Notification, Transition
from exporter.config.alerting import PagerDutyReceiver, SlackReceiver
from exporter.notify.backoff import Backoff
from exporter.notify.clock import Clocks
from exporter.notify.database import FILE
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.pagerduty import PagerDuty
from exporter.notify.receiver import Pace, Reason, Receiver
from exporter.notify.slack import Slack
from exporter.notify.store import StateStore
from exporter.notify.superseding import MISSED
from exporter.notify.telemetry import Outcome, ReceiverTelemetry
from tests.support.notifications import notification
from tests.support.receivers import PAGERDUTY_OK, SLACK_OK, Answer, HttpReceiver, eventually

OPENED, ESCALATED, RESOLVED = Transition.OPENED, Transition.ESCALATED, Transition.RESOLVED
#: Retries as fast as the machine allows, so that no test waits.
AT_ONCE: dict[str, Any] = {"backoff": Backoff(base=0.001), "clocks": Clocks(chance=lambda: 0.5)}


class FastSlack(Slack):
    pace = Pace(1e6, 1000)


class FastPagerDuty(PagerDuty):
    pace = Pace(1e6, 1000)


def slack(url: str, name: str = "slack", **options) -> Slack:
    config = {"webhook_url": SecretStr(url)} | options
    return FastSlack(SlackReceiver(type="slack", name=name, **config))


def pagerduty(url: str, name: str = "pagerduty", **options) -> PagerDuty:
    config = {"routing_key": SecretStr("K" * 32), "url": url} | options
    return FastPagerDuty(PagerDutyReceiver(type="pagerduty", name=name, **config))


@contextmanager
def outbox(path: Path, *receivers: Receiver, stop: float = 1.0, **options) -> Iterator[Outbox]:
    store = StateStore(path, retry_seconds=0.02)
    made = Outbox(store, Dispatcher(receivers, store, **(AT_ONCE | options)))
    made.start()
    try:
        yield made
    finally:
        made.stop(stop)


@pytest.fixture
def servers() -> Iterator[tuple[HttpReceiver, HttpReceiver]]:
    with HttpReceiver() as first, HttpReceiver(otherwise=PAGERDUTY_OK) as second:
        yield first, second


def of(it: Outbox, name: str) -> ReceiverTelemetry:
    return next(each for each in it.dispatcher.telemetry() if each.receiver == name)


def settled(it: Outbox) -> None:
    """Wait until nothing is pending, in memory and on disk."""
    eventually(
        lambda: (
            not it.store.pending_rows()
            and not it.store.health().unsaved
            and not sum(each.pending for each in it.dispatcher.telemetry())
        ),
        "nothing is pending",
    )


def headlines(server: HttpReceiver) -> list[str]:
    return [request.json["text"] for request in server.requests]


def actions(server: HttpReceiver) -> list[str]:
    return [request.json["event_action"] for request in server.requests]


def tell(it: Outbox, receiver: str, *told: Notification) -> None:
    for each in told:
        it.tell_now({}, [(receiver, each)], timeout=5)


@contextmanager
def nobody_there() -> Iterator[tuple[str, socket.socket]]:
    """An address that refuses connections until its socket listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", bound


def test_one_notification_goes_to_all_and_is_forgotten(tmp_path, servers):
    first, second = servers
    with outbox(tmp_path, slack(first.url), pagerduty(second.url)) as it:
        result = it.tell_now(
            {"k": "v"}, [("slack", notification()), ("pagerduty", notification())], timeout=5
        )
        assert result.on_disk
        settled(it)
        assert (len(first.requests), actions(second)) == (1, ["trigger"])
        told = of(it, "slack")
        assert told.outcomes[Outcome.DELIVERED] == told.latency_count == 1
        assert told.latency_sum > 0
        assert max(told.latency_buckets.values()) == 1
        assert (told.failing, told.pending, told.oldest_age_seconds) == (False, 0, 0.0)


def test_kill_between_commit_and_send_loses_nothing(tmp_path, servers):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from exporter.notify.store import StateStore\n"
        "from tests.support.notifications import notification\n"
        "StateStore(Path(sys.argv[1])).commit({}, [('slack', notification())], 30)\n"
        "print('committed', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "committed\n"
        os.kill(process.pid, signal.SIGKILL)
    with outbox(tmp_path, slack(servers[0].url)) as it:
        settled(it)
    assert headlines(servers[0]) == [notification().headline]


def test_resolve_is_sent_for_what_an_earlier_process_may_have_sent(tmp_path, servers):
    store = StateStore(tmp_path)
    store.commit({}, [("pagerduty", notification(OPENED))], timeout=5)
    store.close()
    with nobody_there() as (url, _), outbox(tmp_path, pagerduty(url)) as it:
        eventually(lambda: of(it, "pagerduty").failing, "refused")
        tell(it, "pagerduty", notification(RESOLVED))
        it.dispatcher.reload([pagerduty(servers[1].url)])
        settled(it)
    assert actions(servers[1])[-1] == "resolve"


def test_order_survives_failures(tmp_path, servers):
    first, _ = servers
    first.script.extend([Answer(500), Answer(503), Answer(200, "nonsense")])
    ended = notification(RESOLVED, dedup_key="key")
    again = notification(OPENED, "two", dedup_key="key")
    with outbox(tmp_path, slack(first.url)) as it:
        it.tell_now({}, [("slack", ended), ("slack", again)], timeout=5)
        settled(it)
        assert headlines(first) == [ended.headline] * 4 + [again.headline]
        outcomes = of(it, "slack").outcomes
        assert (outcomes[Outcome.FAILED], outcomes[Outcome.RETRIED]) == (3, 3)


def test_pager_hears_nothing_of_an_incident_that_ended_while_it_was_away(tmp_path):
    with nobody_there() as (url, _), outbox(tmp_path, pagerduty(url)) as it:
        tell(it, "pagerduty", notification(OPENED))
        eventually(lambda: of(it, "pagerduty").failures[Reason.NETWORK] > 0, "refused")
        assert of(it, "pagerduty").failing
        tell(it, "pagerduty", notification(RESOLVED))
        settled(it)
        assert of(it, "pagerduty").outcomes[Outcome.SUPERSEDED] == 2
        assert of(it, "pagerduty").outcomes[Outcome.DELIVERED] == 0


def test_channel_hears_of_it_in_one_message(tmp_path):
    with ExitStack() as stack:
        url, bound = stack.enter_context(nobody_there())
        file = tmp_path / "url"
        file.write_text(url)
        to = slack("", webhook_url=None, webhook_url_file=file)
        it = stack.enter_context(outbox(tmp_path / "state", to))
        tell(it, "slack", notification(OPENED))
        eventually(lambda: of(it, "slack").outcomes[Outcome.FAILED] > 0, "refused")
        tell(it, "slack", notification(ESCALATED), notification(RESOLVED))
        eventually(lambda: of(it, "slack").outcomes[Outcome.SUPERSEDED] == 2, "one is left")
        server = stack.enter_context(HttpReceiver())
        file.write_text(server.url)  # the address is read anew for each attempt
        bound.close()
        settled(it)
        assert headlines(server) == [MISSED + notification(RESOLVED).headline]


def test_resolve_is_sent_after_an_attempt_that_timed_out(tmp_path, servers):
    _, second = servers
    second.script.append(Answer(202, delay=60))
    with outbox(tmp_path, pagerduty(second.url, timeout=0.3)) as it:
        tell(it, "pagerduty", notification(OPENED))
        second.wait_for(1)
        tell(it, "pagerduty", notification(RESOLVED))
        settled(it)
    assert actions(second) == ["trigger", "resolve"]


def test_newest_state_is_what_a_receiver_hears_when_it_is_back(tmp_path, servers):
    first, _ = servers
    first.script.append(Answer(429, "", {"Retry-After": "1"}))
    with outbox(tmp_path, slack(first.url)) as it:
        tell(it, "slack", notification(OPENED))
        first.wait_for(1)
        eventually(lambda: of(it, "slack").failures[Reason.RATE_LIMITED] == 1, "limited")
        tell(it, "slack", notification(ESCALATED))
        settled(it)
        second, third = first.requests
        assert third.json["text"] == notification(ESCALATED).headline
        assert third.at - second.at >= 1.0  # Retry-After is a promise, not a measurement


def test_hanging_receiver_delays_no_other(tmp_path, servers):
    first, second = servers
    first.otherwise = Answer(delay=60)
    with outbox(tmp_path, slack(first.url), pagerduty(second.url), stop=0.0) as it:
        for number in range(5):
            each = notification(OPENED, str(number))
            it.tell_now({}, [("slack", each), ("pagerduty", each)], timeout=5)
        second.wait_for(5)
        eventually(lambda: of(it, "pagerduty").pending == 0, "all are paged")
        assert of(it, "slack").pending == 5


def test_failing_incident_delays_no_other_of_its_receiver(tmp_path, servers):
    first, _ = servers
    bad = notification(OPENED, "bad")
    first.choose = lambda request: Answer(500) if "(bad" in request.json["text"] else SLACK_OK
    with outbox(tmp_path, slack(first.url), stop=0.0) as it:
        tell(it, "slack", bad, notification(OPENED, "good"), notification(OPENED, "better"))
        eventually(lambda: of(it, "slack").outcomes[Outcome.DELIVERED] == 2, "the others are told")
        assert [row.notification for row in it.store.pending_rows()] == [bad]


@pytest.mark.parametrize("accepted", [True, False])
def test_refused_payload_is_sent_once_more_as_text(tmp_path, servers, accepted):
    first, _ = servers
    again = SLACK_OK if accepted else Answer(400, "invalid_payload")
    first.script.extend([Answer(400, "invalid_blocks"), again])
    with outbox(tmp_path, slack(first.url)) as it:
        tell(it, "slack", notification())
        settled(it)
        assert ["blocks" in request.json for request in first.requests] == [True, False]
        outcome = Outcome.DELIVERED if accepted else Outcome.DEAD
        assert of(it, "slack").outcomes[outcome] == 1
        assert len(it.store.dead_letters()) == (not accepted)


def test_dead_letter_is_kept_and_not_sent_again(tmp_path, servers, caplog):
    first, _ = servers
    first.otherwise = Answer(404, "no_service")
    with outbox(tmp_path, slack(first.url)) as it:
        tell(it, "slack", notification())
        settled(it)
        told = of(it, "slack")
        assert (told.outcomes[Outcome.DEAD], told.failing) == (1, True)
        assert "no_service" in told.last_error
        (letter,) = it.store.dead_letters()
        assert (letter.reason, letter.row.notification) == (Reason.GONE, notification())
    with outbox(tmp_path, slack(first.url)) as it:
        assert it.store.health().dead == 1
    assert len(first.requests) == 1
    assert caplog.text.count("notification given up") == 1
    assert caplog.text.count("receiver fails") == 1


def test_stop_does_not_wait_for_a_request_that_hangs(tmp_path, servers):
    first, _ = servers
    first.script.append(Answer(delay=60))
    with outbox(tmp_path, slack(first.url, timeout=30), stop=0.05) as it:
        tell(it, "slack", notification())
        first.wait_for(1)
    # Had it waited, the test would have run into its timeout.
    assert [row.id for row in it.store.pending_rows()] != []
    with outbox(tmp_path, slack(first.url)) as it:
        settled(it)
    assert len(first.requests) == 2


def test_stop_sends_what_is_due_and_keeps_the_rest(tmp_path, servers):
    first, _ = servers
    slow = Backoff(base=1e6, critical_cap=1e6)
    first.choose = lambda request: Answer(500) if "(bad" in request.json["text"] else SLACK_OK
    with outbox(tmp_path, slack(first.url), backoff=slow) as it:
        tell(it, "slack", notification(OPENED, "bad"))
        eventually(lambda: of(it, "slack").outcomes[Outcome.FAILED] == 1, "fails")
        tell(it, "slack", notification(OPENED, "good"))
        assert it.dispatcher.stop(deadline=10)
    assert len(first.requests) == 2
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        assert file.execute("SELECT count(*) FROM outbox").fetchone() == (1,)


def test_broken_disk_delays_no_page(tmp_path, servers):
    path = tmp_path / "state"
    path.write_text("no directory")
    with outbox(path, slack(servers[0].url)) as it:
        result = it.tell_now({"k": "v"}, [("slack", notification())], timeout=5)
        assert (result.on_disk, bool(result.error)) == (False, True)
        servers[0].wait_for(1)
        assert not it.store.health().writable


def test_slow_disk_blocks_neither_the_loop_nor_the_page(tmp_path, servers):
    async def scenario(it: Outbox) -> int:
        turns = 0
        telling = asyncio.create_task(it.tell({}, [("slack", notification())], timeout=0.05))
        while not telling.done():
            turns += 1
            await asyncio.sleep(0)
        assert not (await telling).on_disk
        return turns

    with outbox(tmp_path, slack(servers[0].url)) as it:
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert asyncio.run(scenario(it)) > 10
            servers[0].wait_for(1)
            other.execute("ROLLBACK")
        settled(it)
        assert it.store.health().slow == 1


def test_cancelled_teller_still_tells(tmp_path, servers):
    async def scenario(it: Outbox) -> None:
        telling = asyncio.create_task(it.tell({}, [("slack", notification())]))
        await asyncio.sleep(0)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    with outbox(tmp_path, slack(servers[0].url)) as it:
        asyncio.run(scenario(it))
        servers[0].wait_for(1)
        assert it.tell_now({"k": "v"}, (), timeout=5).on_disk


def test_rows_on_disk_in_time_are_told_as_such(tmp_path, servers):
    with outbox(tmp_path, slack(servers[0].url)) as it:
        result = asyncio.run(it.tell({"k": "v"}, [("slack", notification())], timeout=5))
        assert (result.on_disk, result.error) == (True, "")


def test_reload_keeps_what_is_pending_and_sends_it_to_the_new_address(tmp_path, servers):
    first, second = servers
    with nobody_there() as (url, _), outbox(tmp_path, slack(url), pagerduty(url)) as it:
        tell(it, "slack", notification())
        eventually(lambda: of(it, "slack").failing, "refused")
        it.dispatcher.reload([slack(first.url), slack(first.url, "new")])
        tell(it, "new", notification(OPENED, "two"))
        first.wait_for(2)
        assert [each.receiver for each in it.dispatcher.telemetry()] == ["new", "slack"]
        tell(it, "pagerduty", notification())
        assert [each.reason for each in it.store.dead_letters()] == [Reason.REMOVED]
        assert second.requests == []


def test_a_receiver_that_is_back_hears_first_what_it_missed(tmp_path, servers):
    _, second = servers
    with nobody_there() as (url, _), outbox(tmp_path, pagerduty(url)) as it:
        tell(it, "pagerduty", notification(RESOLVED, dedup_key="key"))
        eventually(lambda: of(it, "pagerduty").failing, "refused")
        it.dispatcher.reload([])
        it.dispatcher.reload([pagerduty(second.url)])
        tell(it, "pagerduty", notification(OPENED, "two", dedup_key="key"))
        settled(it)
    with outbox(tmp_path, pagerduty(second.url)) as it:
        settled(it)
    assert actions(second) == ["resolve", "trigger"]


def test_what_a_receiver_was_being_sent_when_it_went_is_not_overtaken(tmp_path, servers):
    _, second = servers
    second.script.append(Answer(202, delay=60))
    with outbox(tmp_path, pagerduty(second.url, timeout=0.5)) as it:
        tell(it, "pagerduty", notification(RESOLVED, dedup_key="key"))
        second.wait_for(1)
        it.dispatcher.reload([])
        it.dispatcher.reload([pagerduty(second.url)])
        tell(it, "pagerduty", notification(OPENED, "two", dedup_key="key"))
        settled(it)
    first, again, _ = second.requests
    assert actions(second) == ["resolve", "resolve", "trigger"]
    assert again.at - first.at > 0.4  # the timeout runs from before the request arrived


def test_what_is_pending_for_a_receiver_is_sent_under_its_new_name_and_after_a_restart(
    tmp_path, servers
):
    first, _ = servers
    with nobody_there() as (url, _), outbox(tmp_path, slack(url)) as it:
        tell(it, "slack", notification())
        eventually(lambda: of(it, "slack").failing, "refused")
        it.dispatcher.reload([slack(url, "new")], {"slack": "new"})
        eventually(lambda: of(it, "new").failing, "refused again")
        # Decided before the reload, and told after it.
        tell(it, "slack", notification(OPENED, "two"))
        assert [row.receiver for row in it.store.pending_rows()] == ["new", "new"]
    with outbox(tmp_path, slack(first.url, "new")) as it:
        settled(it)
        assert it.store.dead_letters() == ()
    assert len(headlines(first)) == 2


def test_a_new_name_for_what_is_there_already_sends_each_once(tmp_path, servers):
    first, _ = servers
    with nobody_there() as (url, _), outbox(tmp_path, slack(url), slack(url, "other")) as it:
        tell(it, "slack", notification())
        tell(it, "other", notification(OPENED, "two"))
        eventually(lambda: of(it, "slack").failing and of(it, "other").failing, "refused")
        it.dispatcher.reload([slack(first.url, "other")], {"slack": "other"})
        settled(it)
    assert sorted(headlines(first)) == sorted(
        [notification().headline, notification(OPENED, "two").headline]
    )


def test_resolve_is_not_sent_where_it_is_not_wanted(tmp_path, servers):
    first, _ = servers
    with outbox(tmp_path, slack(first.url, send_resolved=False)) as it:
        tell(it, "slack", notification(OPENED), notification(RESOLVED))
        settled(it)
    assert headlines(first) == [notification(OPENED).headline]


def test_defect_in_one_receiver_ends_neither_its_thread_nor_tells_its_text(tmp_path, caplog):
    class Broken:
        name, pace, send_resolved, tells_missed = "broken", Pace(1e6, 1000), True, True

        def __init__(self) -> None:
            self.seen: list[str] = []

        def send(self, told: Notification, *, minimal: bool = False) -> None:
            self.seen.append(f"{told.incident} {minimal}")
            if len(self.seen) < 3:
                raise ZeroDivisionError("the secret")

    broken = Broken()
    with outbox(tmp_path, broken) as it:
        tell(it, "broken", notification())
        settled(it)
        assert broken.seen == ["one False", "one True", "one True"]
        assert of(it, "broken").failures[Reason.PAYLOAD] == 2
        assert "secret" not in of(it, "broken").last_error + caplog.text


def test_what_is_too_old_is_given_up(tmp_path, servers):
    yesterday: Sequence[float] = [1_000_000.0]
    store = StateStore(tmp_path, clock=lambda: yesterday[0])
    store.commit({}, [("slack", notification())], timeout=5)
    store.close()
    with outbox(tmp_path, slack(servers[0].url)) as it:
        settled(it)
        assert [each.reason for each in it.store.dead_letters()] == [Reason.EXPIRED]
    assert servers[0].requests == []
