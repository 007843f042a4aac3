"""`pgheadroom check`: one poll of every server, judged by the same rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from exporter.alerting.message import describe
from exporter.alerting.notification import Severity, Situation
from exporter.config.model import Config
from exporter.config.server import Server
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules
from exporter.snapshot.failing import explained
from exporter.snapshot.server import Failure, Probe, Reason, ServerState
from exporter.sources.credentials import describe as describe_dsn
from exporter.sources.errors import SourceError
from exporter.sources.postgres import PostgresSource

#: The exit codes that monitoring plugins use (https://www.monitoring-plugins.org/doc/guidelines.html).
OK, WARNING, CRITICAL, UNKNOWN = range(4)
#: What `check` waits for beyond a poll's own deadlines.
_GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that would fire now; `for` is not waited for."""

    alertname: str
    severity: Severity
    summary: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One server as it is now. `code` is 0 ok, 1 warning, 2 critical, 3 could not be seen."""

    server: str
    tried: str
    """Where it was looked for: role@host:port/database."""
    situation: Situation
    probe: str
    findings: tuple[Finding, ...]
    code: int

    def to_dict(self) -> Mapping[str, Any]:
        """For JSON."""
        return asdict(self)


async def check(config: Config) -> tuple[Checked, ...]:
    """Every server, polled once and side by side."""
    rules = RuleSet(load_rules(config.rules)[0]).of_scope("server")
    return tuple(await asyncio.gather(*(_checked(config, each, rules) for each in config.servers)))


def worst(checked: Sequence[Checked]) -> int:
    """The exit code: critical over unknown over warning over ok."""
    order = (CRITICAL, UNKNOWN, WARNING, OK)
    return min((each.code for each in checked), key=order.index, default=OK)


async def _checked(config: Config, server: Server, rules: RuleSet) -> Checked:
    state = await _look(config, server)
    now = time.time()
    results = rules.evaluate(Index.of(server_families(state, Caps(), now)))
    findings = tuple(
        Finding(result.rule.name, Severity(result.rule.severity), annotations.get("summary", ""))
        for result in results
        for annotations in (result.rule.alert_annotations(element) for element in result.elements)
    )
    probe = state.probes.get("direct")
    return Checked(
        server.name,
        describe_dsn(server.dsn.get_secret_value()),
        describe(state, None, now),
        _probe_words(probe),
        findings,
        _code(state, findings),
    )


async def _look(config: Config, server: Server) -> ServerState:
    polling = config.polling_of(server)
    source = PostgresSource(server, polling)
    state = ServerState(server.name, thresholds=config.thresholds_of(server))
    deadline = polling.connect_deadline + polling.deadline + _GRACE_SECONDS
    try:
        async with asyncio.timeout(deadline):
            state = replace(
                state, snapshot=await source.poll(time.time(), expected_used_ratio=None)
            )
    except SourceError as error:
        failure = explained(error.failure, "")
        state = replace(state, failure=failure, failing_since=time.time())
    except TimeoutError:
        late = explained(Failure(Reason.LATE, "no answer in time"), "")
        state = replace(state, failure=late, failing_since=time.time())
    if server.probe.enabled:
        state = replace(state, probes={"direct": await source.probe(time.time())})
    await source.close()
    return state


def _probe_words(probe: Probe | None) -> str:
    if probe is None:
        return ""
    if probe.reason is None:
        return f"a new client connects in {probe.seconds * 1000:.0f} ms"
    return f"a new client is turned away ({probe.reason}): {probe.message}"


def _code(state: ServerState, findings: Sequence[Finding]) -> int:
    severities = {finding.severity for finding in findings}
    if Severity.CRITICAL in severities or _refused(state):
        return CRITICAL
    if not state.up:
        return UNKNOWN
    return WARNING if Severity.WARNING in severities else OK


def _refused(state: ServerState) -> bool:
    """A login refused for want of a slot is not an unknown: it is what all of this is about."""
    return state.failure is not None and state.failure.reason is Reason.REFUSED
