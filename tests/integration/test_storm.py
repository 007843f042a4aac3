"""Two hundred servers fail within one second: what a real receiver like Slack gets."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.crowd import CROWD
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing, manners_of
from exporter.app import Keeper, SteadyClock
from exporter.config.alerting import PagerDutyReceiver, Route, SlackReceiver
from exporter.notify.clock import Clocks
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.receivers import make_receivers
from exporter.notify.store import StateStore
from exporter.rules.model import Element, Result, Rule
from tests.support.receivers import PAGERDUTY_OK, SLACK_OK, Answer, HttpReceiver, eventually
from tests.support.states import failure, state

SERVERS = [f"orders-production-{number:03}" for number in range(200)]
RULE = Rule("PostgresServerUnreachableLong", "g", "x",
            labels={"severity": "critical", "family": "reachability"},
            annotations={"summary": "{{ $labels.server }}: not seen"})  # fmt: skip


class House:
    """Everything between the decisions about 200 servers and two receivers."""

    def __init__(self, folder: Path, slack: HttpReceiver, pager: HttpReceiver) -> None:
        receivers = (
            SlackReceiver(name="slack", type="slack", webhook_url=slack.url),
            PagerDutyReceiver(name="pager", type="pagerduty", routing_key="k", url=pager.url),
        )
        self.clock = SteadyClock()
        self.store = StateStore(folder, clock=self.clock)
        dispatcher = Dispatcher(
            make_receivers(receivers), self.store, clocks=Clocks(wall=self.clock)
        )
        self.outbox = Outbox(self.store, dispatcher)
        self.outbox.start()
        self.keeper = Keeper(self.outbox, self.clock)
        self.keeper.chats = frozenset({"slack"})
        routes = tuple(Route(receiver=each.name) for each in receivers)
        self.alerter = Alerter(Routing(routes, {}, manners_of(receivers)), Sender("test"))
        self.books = dict.fromkeys(SERVERS, Book())

    async def evaluate(self, *, firing: bool) -> None:
        """One evaluation of every server, as fast as it goes."""
        for name in SERVERS:
            element = (Element({"server": name}, 1.0),) if firing else ()
            seen = state(server=name, snapshot=None, failure=failure())
            now = self.clock()
            decision = self.alerter.decide(
                self.books[name], [Result(RULE, element)], seen, None, now, observed=True
            )
            self.books[name] = decision.book
            await self.keeper.commit(decision.book.to_json(), decision.notifications)

    def pending(self) -> dict[str, int]:
        return {each.receiver: each.pending for each in self.outbox.dispatcher.telemetry()}

    def close(self) -> None:
        self.outbox.stop(0.1)


def named(slack: HttpReceiver, *, resolved: bool) -> set[str]:
    """The servers that messages which open, or which resolve, have named."""
    texts = [request.json for request in slack.requests]
    found = [json.dumps(each) for each in texts if ("RESOLVED" in each["text"]) is resolved]
    return {name for name in SERVERS if any(name in each for each in found)}


def paced(slack: HttpReceiver) -> bool:
    times = [request.at for request in slack.requests]
    return all(later - sooner >= 1 for sooner, later in pairwise(times))


def test_a_chat_gets_few_messages_that_name_all_and_a_pager_gets_each(tmp_path):
    limited = Answer(429, "rate_limited", {"Retry-After": "2"})
    with HttpReceiver(otherwise=SLACK_OK) as slack, HttpReceiver(otherwise=PAGERDUTY_OK) as pager:
        house = House(tmp_path, slack, pager)
        try:
            # The first digest is refused, and nobody in it is lost.
            slack.choose = lambda _: limited if len(slack.requests) == CROWD + 1 else None
            asyncio.run(house.evaluate(firing=True))
            eventually(lambda: not house.pending()["slack"], "all told", 30)
            assert named(slack, resolved=False) == set(SERVERS)
            opened = len(slack.requests)
            assert CROWD + 1 < opened <= CROWD + 5
            asyncio.run(house.evaluate(firing=False))
            eventually(lambda: not house.pending()["slack"], "all resolved", 30)
        finally:
            house.close()
        assert named(slack, resolved=True) == set(SERVERS)
        assert len(slack.requests) - opened <= CROWD + 4
        assert paced(slack)
        # One by one, at the pace that the vendor allows: the rest waits on disk.
        events = [request.json for request in pager.requests]
        paged = [e["payload"]["source"] for e in events if e["event_action"] == "trigger"]
        assert len(paged) == len(set(paged)) >= 20


def test_what_was_not_told_before_a_crash_is_told_in_a_digest_after_it(tmp_path):
    down = Answer(503)
    with HttpReceiver(otherwise=down) as slack, HttpReceiver(otherwise=PAGERDUTY_OK) as pager:
        house = House(tmp_path, slack, pager)
        asyncio.run(house.evaluate(firing=True))
        slack.wait_for(2)
        # As after a kill: nothing is drained, what is on disk stays.
        house.close()
        slack.requests.clear()
        slack.otherwise = SLACK_OK
        again = House(tmp_path, slack, pager)
        try:
            eventually(lambda: not again.pending()["slack"], "all told", 60)
        finally:
            again.close()
        assert named(slack, resolved=False) == set(SERVERS)
        assert len(slack.requests) <= CROWD + 5
