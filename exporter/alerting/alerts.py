"""Rule results and time become alerts, with the meaning that Prometheus gives `for`.

The state machine is that of Prometheus' `AlertingRule.Eval`: pending from the first evaluation
that returns an element, firing once `for` has passed, kept firing for `keep_firing_for` after the
element is gone. Time is the steady clock of whoever calls (Unix seconds).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from exporter.alerting.notification import Severity
from exporter.rules.model import Element, Result, Rule
from exporter.snapshot.compact import compact_json


class AlertState(StrEnum):
    """Inactive alerts are not kept, resolved ones are told and forgotten."""

    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Alert:
    """One element of one rule's result, through time. Identity is `labels`."""

    rule: str
    labels: Mapping[str, str]
    state: AlertState
    active_at: float
    fired_at: float | None
    value: float
    annotations: Mapping[str, str] = field(default_factory=dict)
    keep_firing_since: float | None = None
    muted_by: str = ""
    """Why it is not told while it fires, such as "silence 1f09"; "" where nothing mutes it."""

    @property
    def fingerprint(self) -> str:
        """A short name for the label set."""
        return fingerprint(self.labels)

    @property
    def holds(self) -> bool:
        """Whether its condition was so when it was last looked at, and it is not only kept firing.

        A failed poll leaves it as it is: nobody looked.
        """
        return self.keep_firing_since is None

    @property
    def severity(self) -> Severity:
        """The rule's severity; a word that is none of ours counts as a warning."""
        word = self.labels.get("severity", "")
        return Severity.__members__.get(word.upper(), Severity.WARNING)

    @property
    def family(self) -> str:
        """What the alert's incident is about; each pooler of a server has incidents of its own."""
        family = self.labels.get("family", self.rule)
        pooler = self.labels.get("pooler")
        return f"{family}:{pooler}" if pooler else family


Alerts = Mapping[str, Alert]


def fingerprint(labels: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that name a label set."""
    text = json.dumps(sorted(labels.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def advance(alerts: Alerts, results: Iterable[Result], now: float, *, observed: bool) -> Alerts:
    """The alerts after one evaluation at `now`.

    A rule whose evaluation failed keeps its alerts as they are. While nothing of the server is
    known (`observed` false: no snapshot since the start) absence is not evidence, so no alert ends.
    Alerts of rules that are no longer loaded are dropped. The order is that of `results`.
    """
    following: dict[str, Alert] = {}
    by_rule: dict[str, list[Alert]] = {}
    for alert in alerts.values():
        by_rule.setdefault(alert.rule, []).append(alert)
    for result in results:
        known = by_rule.get(result.rule.name, [])
        if result.error:
            following.update((alert.fingerprint, alert) for alert in known)
        else:
            _advance_rule(following, known, result, now, observed=observed)
    return following


def _advance_rule(
    following: dict[str, Alert],
    known: list[Alert],
    result: Result,
    now: float,
    *,
    observed: bool,
) -> None:
    rule = result.rule
    before = {alert.fingerprint: alert for alert in known}
    for element in result.elements:
        seen = _seen(rule, element, before, now)
        following[seen.fingerprint] = seen
    for key, alert in before.items():
        if key not in following:
            kept = _unseen(rule, alert, now) if observed else alert
            if kept is not None:
                following[key] = kept


def _seen(rule: Rule, element: Element, before: Alerts, now: float) -> Alert:
    labels = rule.alert_labels(element)
    alert = before.get(fingerprint(labels)) or Alert(
        rule.name, labels, AlertState.PENDING, now, None, element.value
    )
    alert = replace(
        alert,
        value=element.value,
        annotations=rule.alert_annotations(element),
        keep_firing_since=None,
        active_at=min(alert.active_at, now),
    )
    if alert.state is AlertState.PENDING and now - alert.active_at >= rule.for_seconds:
        return replace(alert, state=AlertState.FIRING, fired_at=now)
    return alert


def _unseen(rule: Rule, alert: Alert, now: float) -> Alert | None:
    if alert.state is AlertState.PENDING:
        return None
    # A clock that was ahead before a restart must not hold an alert for ever.
    since = min(now if alert.keep_firing_since is None else alert.keep_firing_since, now)
    if now - since >= rule.keep_firing_for_seconds:
        return None
    return replace(alert, keep_firing_since=since)


def alerts_to_json(alerts: Alerts) -> str:
    """Text from which `alerts_from_json` makes equal alerts."""
    return compact_json([*alerts.values()])


def alerts_from_json(text: str) -> dict[str, Alert]:
    """The alerts that `alerts_to_json` wrote.

    Raises:
        ValueError: `text` is not of that form.
    """
    try:
        found = [_alert(raw) for raw in json.loads(text)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a list of alerts: {error!r}") from error
    return {alert.fingerprint: alert for alert in found}


def _alert(raw: dict[str, Any]) -> Alert:
    return Alert(**(raw | {"state": AlertState(raw["state"])}))
