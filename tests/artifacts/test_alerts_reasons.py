"""Every reason for which a server is not seen has a rule: it warns, and after a minute it pages."""

from __future__ import annotations

import pytest

from exporter.config.alerting import Rules
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.server import Failure, Reason, ServerState
from tests.support.states import group, state

RULES = RuleSet(load_rules(Rules())[0]).of_scope("server")
#: The first word about it; the others are told as unreachable.
NAMED = {
    Reason.REFUSED: "PostgresWatcherRefused",
    Reason.UNPRIVILEGED: "PostgresServerUnprivileged",
    Reason.AUTH: "PostgresServerCredentials",
    Reason.TLS: "PostgresServerCredentials",
    Reason.POOLED: "PostgresServerPooled",
}


def found(reason: Reason, seconds: float, seen: ServerState) -> dict[str, str]:
    """Severity by name of the rules that hold after `seconds` of failing, without their `for`."""
    failed = Failure(reason, "said")
    blind = ServerState(
        "prod",
        snapshot=seen.snapshot,
        failure=failed,
        failing_since=1000.0,
        thresholds={"connections_warning": 0.7, "connections_critical": 0.85},
    )
    results = RULES.evaluate(Index.of(server_families(blind, Caps(), 1000.0 + seconds)))
    return {
        result.rule.name: result.rule.severity
        for result in results
        if result.elements and result.rule.name != "PostgresConnectionsHigh"
    }


@pytest.mark.parametrize("reason", Reason)
def test_a_calm_server_warns_and_then_pages(reason: Reason) -> None:
    calm = state(group(10))
    warned = found(reason, 16, calm)
    assert NAMED.get(reason, "PostgresServerUnreachable") in warned
    if reason is not Reason.REFUSED:
        assert "critical" not in warned.values()
    paged = found(reason, 61, calm)
    assert "critical" in paged.values()


@pytest.mark.parametrize("reason", Reason)
def test_a_server_that_was_nearly_full_pages_at_once(reason: Reason) -> None:
    full = state(group(70))
    assert "critical" in found(reason, 5.5, full).values()


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.REFUSED])
def test_one_late_poll_says_nothing_to_anybody(reason: Reason) -> None:
    # The named rules have a `for`, which is not waited for here.
    said = found(reason, 4.0, state(group(70)))
    assert "critical" not in said.values()


def test_a_server_that_was_never_seen_pages_too() -> None:
    assert "critical" in found(Reason.NETWORK, 61, ServerState("prod")).values()
