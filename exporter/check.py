"""`pgheadroom check`: one poll of every server and pooler, judged by the same rules."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exporter.alerting.message import describe
from exporter.alerting.notification import Severity, Situation
from exporter.alerting.pooler_message import describe_pooler
from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Server
from exporter.look import look_at_all
from exporter.metrics.families import Families
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Probe, Reason, ServerState
from exporter.sources.credentials import describe as describe_dsn

#: The exit codes that monitoring plugins use (https://www.monitoring-plugins.org/doc/guidelines.html).
OK, WARNING, CRITICAL, UNKNOWN = range(4)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that would fire now; `for` is not waited for."""

    alertname: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A server or pooler as it is now. `code` is 0 ok, 1 warning, 2 critical, 3 not seen."""

    server: str
    """Its name; of a pooler, the server that it stands in front of, or its own name."""
    tried: str
    """Where it was looked for: role@host:port/database."""
    situation: Situation
    probe: str
    findings: tuple[Finding, ...]
    code: int
    pooler: str = ""
    """The pooler's name, "" for a server."""
    warnings: tuple[str, ...] = ()
    """What makes a pooler's numbers less than they seem."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.pooler or self.server

    def to_dict(self) -> Mapping[str, Any]:
        """For JSON."""
        return asdict(self)


async def check(config: Config) -> tuple[Checked, ...]:
    """Every server and pooler, polled once and side by side."""
    rules = RuleSet(load_rules(config.rules)[0]).of_scope("server")
    servers, poolers = await look_at_all(config, behind=True)
    return (
        *(_checked(config, each, rules) for each in servers),
        *(_checked_pooler(config, each, rules) for each in poolers),
    )


def worst(checked: Sequence[Checked]) -> int:
    """The exit code: critical over unknown over warning over ok."""
    order = (CRITICAL, UNKNOWN, WARNING, OK)
    return min((each.code for each in checked), key=order.index, default=OK)


def _checked(config: Config, state: ServerState, rules: RuleSet) -> Checked:
    now = time.time()
    findings = _findings(rules, server_families(state, Caps(), now))
    return Checked(
        state.server,
        _tried(config.servers, state.server),
        describe(state, None, now),
        _probe_words(state.probes.get("direct")),
        findings,
        _code(state, findings),
    )


def _checked_pooler(config: Config, state: PoolerState, rules: RuleSet) -> Checked:
    now = time.time()
    findings = _findings(rules, pooler_families(state, PoolerCaps(), now))
    return Checked(
        state.server,
        _tried(config.poolers, state.pooler),
        describe_pooler(state, now),
        _probe_words(state.probes.get(state.pooler)),
        findings,
        _code(state, findings),
        state.pooler,
        state.warnings,
    )


def _tried(entries: Iterable[Server | Pooler], name: str) -> str:
    """Where the entry called `name` was looked for."""
    return next(describe_dsn(e.dsn.get_secret_value()) for e in entries if e.name == name)


def _findings(rules: RuleSet, families: Families) -> tuple[Finding, ...]:
    return tuple(
        Finding(result.rule.name, Severity(result.rule.severity), annotations.get("summary", ""))
        for result in rules.evaluate(Index.of(families))
        for annotations in (result.rule.alert_annotations(element) for element in result.elements)
    )


def _probe_words(probe: Probe | None) -> str:
    if probe is None:
        return ""
    if probe.reason is None:
        return f"a new client connects in {probe.seconds * 1000:.0f} ms"
    return f"a new client is turned away ({probe.reason}): {probe.message}"


def _code(state: ServerState | PoolerState, findings: Sequence[Finding]) -> int:
    severities = {finding.severity for finding in findings}
    if Severity.CRITICAL in severities or _refused(state):
        return CRITICAL
    if not state.up:
        return UNKNOWN
    return WARNING if Severity.WARNING in severities else OK


def _refused(state: ServerState | PoolerState) -> bool:
    """A login refused for want of a slot is not an unknown: it is what all of this is about."""
    return state.failure is not None and state.failure.reason is Reason.REFUSED
