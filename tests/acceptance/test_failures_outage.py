"""Receivers that are away for a long time, and ones that refuse for good: the others make up."""

from __future__ import annotations

import contextlib

import pytest

from exporter.demo.postgres import free_port
from exporter.notify.superseding import MISSED
from tests.support.postgres import sessions
from tests.support.receivers import PAGERDUTY_OK, Answer, HttpReceiver
from tests.support.watching import Samples, events, pagerduty, prepare, watched, watching

USABLE = 17
THRESHOLDS = {"connections_warning": None, "connections_critical": None}


def delivered(seen: Samples, receiver: str) -> float:
    return seen.one("pgheadroom_notifications_total", receiver=receiver, outcome="delivered")


@pytest.mark.slow(5)
def test_after_an_outage_a_receiver_is_told_what_still_matters_in_order(tmp_path, start_postgres):
    """What was over before anybody heard of it wakes nobody; what is open is told."""
    over = prepare(start_postgres(18, max_connections=20))
    still = prepare(start_postgres(16, max_connections=20))
    servers = [watched(over, "over"), watched(still, "still")]
    away, chat_away = free_port(), free_port()
    with HttpReceiver() as good, contextlib.ExitStack() as stack:
        chat = {
            "name": "chat",
            "type": "slack",
            "webhook_url": f"http://127.0.0.1:{chat_away}/x",
        }
        absent = pagerduty(good, "away") | {"url": f"http://127.0.0.1:{away}/away"}
        watch = watching(tmp_path, servers, [pagerduty(good), absent, chat], thresholds=THRESHOLDS)
        stack.enter_context(watch.running())
        watch.wait_for("seen", lambda s: s.up("over") and s.up("still"))
        with sessions(over, USABLE - 1, user="app"):
            good.wait_for(1)
        good.wait_for(2)
        stack.enter_context(sessions(still, USABLE - 1, user="app"))
        good.wait_for(3)
        told = [(each.action, each.server) for each in events(good)]
        assert told == [("trigger", "over"), ("resolve", "over"), ("trigger", "still")]
        watch.wait_for("both failed", lambda s: len(s.all("pgheadroom_outbox_failing")) == 3)
        assert delivered(watch.scrape(), "away") == delivered(watch.scrape(), "chat") == 0
        back = stack.enter_context(HttpReceiver(otherwise=PAGERDUTY_OK, port=away))
        chat_back = stack.enter_context(HttpReceiver(port=chat_away))
        watch.wait_for(
            "told",
            lambda s: delivered(s, "away") >= 1 and delivered(s, "chat") >= 2,
            90,
        )
        assert [(each.action, each.server) for each in events(back)] == [("trigger", "still")]
        texts = [request.json["text"] for request in chat_back.requests]
        assert len([text for text in texts if text.startswith(MISSED) and "over" in text]) == 1
        assert len([text for text in texts if "still" in text]) == 1


@pytest.mark.slow(6)
def test_what_a_receiver_refuses_for_good_is_told_through_the_others(tmp_path, start_postgres):
    server = prepare(start_postgres(18, max_connections=20))
    with HttpReceiver() as good, contextlib.ExitStack() as stack:
        bad = {
            f"answers{status}": stack.enter_context(HttpReceiver(otherwise=Answer(status, "no")))
            for status in (400, 404, 410)
        }
        told_of = [pagerduty(good)]
        for name, each in bad.items():
            answer = each.otherwise
            told_of.append(pagerduty(each, name))
            each.otherwise = answer
        watch = watching(tmp_path, [watched(server)], told_of, thresholds=THRESHOLDS)
        stack.enter_context(watch.running())
        watch.wait_for("seen", lambda s: s.up())
        stack.enter_context(sessions(server, USABLE - 1, user="app"))

        def named() -> set[str]:
            texts = [
                str(request.json) for request in good.requests if "given up" in str(request.json)
            ]
            return {name for name in bad if any(name in text for text in texts)}

        watch.wait_for("the others say so", lambda _: named() == set(bad), 30)
        said = [each for each in events(good) if each.family == "notifications"]
        assert {each.server for each in said} == {"pgheadroom"}
        assert said[0].severity == "critical"
        for name, each in bad.items():
            groups = [request.json["payload"]["group"] for request in each.requests]
            tries = 2 if name == "answers400" else 1
            assert groups.count("connections") == tries, "400 once more as bare text"
            assert watch.scrape().one("pgheadroom_outbox_dead", receiver=name) >= 1
            assert f"<td>{name}</td><td>CRITICAL db: " in watch.page, "what it missed is to be read"
        assert "k" * 32 not in watch.page
