"""What a message of the shipped rules leads with: the rule that stands first in its file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.message import Sender
from exporter.alerting.notification import Notification
from exporter.alerting.routing import Routing
from exporter.config.alerting import Route, Rules
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.notify import words
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.server import Reason, ServerState
from tests.support.states import failure, group, refused, state

RULES = RuleSet(load_rules(Rules())[0]).of_scope("server")
ALERTER = Alerter(Routing((Route(receiver="slack"),)), Sender())
THRESHOLDS = {"connections_warning": 0.7, "connections_critical": 0.85}


def page(server: ServerState) -> Notification:
    """What is told first of a server that looks like that."""
    server = replace(server, thresholds=THRESHOLDS)
    results = RULES.evaluate(Index.of(server_families(server, Caps(), 1000.0)))
    decision = ALERTER.decide(Book(), results, server, None, 1000.0, observed=True)
    ((_, told),) = decision.notifications
    return told


@pytest.mark.parametrize(
    "server",
    [
        state(group(97)),
        state(group(97), forecasts={"page": 0.0}),
        state(group(90), probes=refused()),
        state(group(90), failure=failure(Reason.REFUSED)),
    ],
    ids=["full", "full and climbing", "the probe is refused", "the watcher is refused"],
)
def test_where_clients_are_refused_nobody_is_told_to_log_in(server):
    told = page(server)
    assert words.runbooks(told)[0].endswith("/nobody-can-log-in.md")
    assert words.actions(told)[0].startswith("Stop the ")


def test_what_is_so_is_told_before_what_is_forecast():
    told = page(state(group(86), forecasts={"page": 20.0, "warning": 20.0}))
    assert words.runbooks(told)[0].endswith("/connections-high.md")
