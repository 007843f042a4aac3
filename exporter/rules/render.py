"""The rule files as Prometheus is to load them: with the configuration's overrides applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from exporter.config.alerting import RuleOverride, Rules
from exporter.rules.load import read_texts
from exporter.rules.texts import read_yaml

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


def duration_text(seconds: float) -> str:
    """`seconds` as Prometheus writes a duration.

    >>> [duration_text(seconds) for seconds in (0, 90, 0.25, 7200, 86461)]
    ['0s', '1m30s', '250ms', '2h', '1d1m1s']
    """
    left, text = round(seconds * 1000), ""
    for unit, milliseconds in _UNITS:
        count, left = divmod(left, milliseconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def render(settings: Rules) -> dict[str, str]:
    """The texts of all rule files by their origin, changed as `settings.overrides` say.

    Rules that are switched off are left out, and groups without a rule with them. A file that no
    override touches is given as it is, comments and all.
    """
    texts, _ = read_texts(settings)
    return {origin: _rendered(text, settings.overrides) for origin, text in texts.items()}


def groups_of(text: str) -> list[dict[str, Any]]:
    """The groups of a rule file that has no problem, without the keys that are given no value."""
    return [
        _given(group) | {"rules": [_given(rule) for rule in group.get("rules") or ()]}
        for group in read_yaml(text)["groups"]
    ]


def _given(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def _rendered(text: str, overrides: Mapping[str, RuleOverride]) -> str:
    groups = groups_of(text)
    names = {rule["alert"] for group in groups for rule in group["rules"]}
    if not names & overrides.keys():
        return text
    for group in groups:
        rules = (_changed(rule, overrides.get(rule["alert"])) for rule in group["rules"])
        group["rules"] = [rule for rule in rules if rule is not None]
    return dumped([group for group in groups if group["rules"]])


def dumped(groups: Sequence[Mapping[str, Any]]) -> str:
    """The text of a rule file with `groups`."""
    document = {"groups": list(groups)}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _changed(rule: dict[str, Any], override: RuleOverride | None) -> dict[str, Any] | None:
    if override is None:
        return rule
    if not override.enabled:
        return None
    own: dict[str, Any] = {}
    if override.for_ is not None:
        own["for"] = duration_text(override.for_)
    if override.keep_firing_for is not None:
        own["keep_firing_for"] = duration_text(override.keep_firing_for)
    if override.severity is not None:
        own["labels"] = {**rule.get("labels", {}), "severity": override.severity}
    return {**rule, **own}
