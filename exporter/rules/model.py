"""Rules and what they find: frozen values that the alerting reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from exporter.rules.templates import expand

Scope = Literal["server", "self"]
SEVERITIES = ("info", "warning", "critical")
DEFAULT_SEVERITY = "warning"


@dataclass(frozen=True, slots=True)
class Element:
    """One series of a rule's result: its labels without the name, and its value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One alerting rule, as its file gives it; `expr` has been checked when it comes from `load`.

    `for_seconds` and `keep_firing_for_seconds` are 0 where the file says nothing. `scope` is
    "server" when the rule is evaluated over each server and each pooler by itself and every element
    of a result carries `server`, "self" when the rule watches pgheadroom itself.
    """

    name: str
    group: str
    expr: str
    for_seconds: float = 0.0
    keep_firing_for_seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    scope: Scope = "server"

    @property
    def severity(self) -> str:
        """The `severity` label; "warning" where the file gives none."""
        return self.labels.get("severity", DEFAULT_SEVERITY)

    @property
    def family(self) -> str:
        """The `family` label, or the rule's own name: an incident of its own."""
        return self.labels.get("family", self.name)

    def alert_labels(self, element: Element) -> dict[str, str]:
        """The identity of `element`'s alert: its labels, the rule's over them, and `alertname`.

        An expanded label that is empty is left out, as Prometheus does.
        """
        own = {
            key: expand(text, element.labels, element.value) for key, text in self.labels.items()
        }
        merged = {**element.labels, **own, "alertname": self.name}
        return {key: value for key, value in merged.items() if value}

    def alert_annotations(self, element: Element) -> dict[str, str]:
        """The rule's annotations, expanded with `element`'s labels and value."""
        return {
            key: expand(text, element.labels, element.value)
            for key, text in self.annotations.items()
        }


class Result(NamedTuple):
    """What one rule found. With an `error` nothing is known, and its alerts stay as they are."""

    rule: Rule
    elements: tuple[Element, ...]
    error: str = ""
