"""The text of a Prometheus rule file becomes rules, or every problem at once.

The format is https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/. Scalars
are read as text, as Prometheus reads them, so that `env: 1` is a label value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from exporter.rules import expression, templates
from exporter.rules.expression import ELSEWHERE
from exporter.rules.model import SEVERITIES, Rule
from exporter.rules.scope import scope_of
from exporter.rules.texts import read_yaml

_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?"
)
_SECONDS = (31_536_000.0, 604_800.0, 86_400.0, 3600.0, 60.0, 1.0, 0.001)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Labels that the alert has from elsewhere.
_TAKEN = frozenset({"alertname", "server", "__name__"})
#: What routes, incidents and overrides read before there is a value to expand them with.
_FIXED = ("severity", "family")
_GROUP_KEYS = frozenset({"name", "interval", "labels", "rules"})
_RULE_KEYS = frozenset({"alert", "expr", "for", "keep_firing_for", "labels", "annotations"})
_PROMETHEUS_ONLY = frozenset({"record", "limit", "query_offset", "partial_response_strategy"})


def duration_seconds(text: str) -> float:
    """Seconds of a Prometheus duration.

    >>> duration_seconds("1m30s"), duration_seconds("0")
    (90.0, 0.0)

    Raises:
        ValueError: `text` is not one.
    """
    found = _DURATION.fullmatch(text)
    if text == "0":
        return 0.0
    if not text or not found:
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m or 1h30m")
    return sum(
        int(part) * unit for part, unit in zip(found.groups(), _SECONDS, strict=True) if part
    )


def parse_rules(text: str, origin: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The rules of a file's `text`, and its problems as sentences that begin with `origin`.

    A rule with a problem is left out. The rules are complete only if there is no problem.
    """
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        return (), (f"{origin}: the file is not YAML: {' '.join(str(error).split())}",)
    reader = _Reader(origin)
    reader.read(document)
    return tuple(reader.rules), tuple(reader.problems)


class _Reader:
    """Collects the rules and the problems of one file."""

    def __init__(self, origin: str) -> None:
        self.rules: list[Rule] = []
        self.problems: list[str] = []
        self._origin = origin

    def read(self, document: object) -> None:
        if not isinstance(document, dict) or not isinstance(document.get("groups"), list):
            self._note("", "a rule file is a list of groups under the key `groups`")
            return
        self._unknown("", document, frozenset({"groups"}))
        names: set[str] = set()
        for position, group in enumerate(document["groups"], 1):
            if not isinstance(group, dict) or not _text(group.get("name")):
                self._note(f"group number {position}", "a group is a mapping with a `name`")
                continue
            where = f"group {group['name']!r}"
            if group["name"] in names:
                self._note(where, "there is another group of this name in the file")
            names.add(group["name"])
            self._group(where, group)

    def _note(self, where: str, problem: str) -> None:
        self.problems.append(": ".join(part for part in (self._origin, where, problem) if part))

    def _unknown(self, where: str, given: Mapping[str, object], known: frozenset[str]) -> None:
        for key in given:
            if key in _PROMETHEUS_ONLY and key not in known:
                self._note(where, f"`{key}` is not evaluated here; {ELSEWHERE}")
            elif key not in known:
                self._note(where, f"the key {key!r} is unknown; known are {_listed(known)}")

    def _group(self, where: str, group: dict[str, Any]) -> None:
        self._unknown(where, group, _GROUP_KEYS)
        self._seconds(where, group, "interval")
        common = self._texts(where, group, "labels")
        rules = group.get("rules")
        rules = [] if rules is None else rules
        if not isinstance(rules, list):
            self._note(where, "`rules` is a list")
            return
        for position, raw in enumerate(rules, 1):
            if isinstance(raw, dict) and "record" in raw:
                name = f"recording rule {raw['record']!r}"
                self._note(f"{where}, {name}", f"recording rules are not evaluated; {ELSEWHERE}")
            elif not isinstance(raw, dict) or not _text(raw.get("alert")):
                self._note(f"{where}, rule number {position}", "a rule is a mapping with `alert`")
            else:
                self._rule(f"{where}, rule {raw['alert']}", group["name"], raw, common)

    def _rule(self, where: str, group: str, raw: dict[str, Any], common: dict[str, str]) -> None:
        before = len(self.problems)
        self._unknown(where, raw, _RULE_KEYS)
        text = raw.get("expr", "")
        root, problems = expression.parse(text if isinstance(text, str) else "")
        scope, unscoped = ("server", []) if problems else scope_of(root)
        labels = common | self._texts(where, raw, "labels")
        rule = Rule(
            name=raw["alert"],
            group=group,
            expr=text,
            for_seconds=self._seconds(where, raw, "for"),
            keep_firing_for_seconds=self._seconds(where, raw, "keep_firing_for"),
            labels=labels,
            annotations=self._texts(where, raw, "annotations"),
            scope=scope,
        )
        for problem in (*problems, *unscoped, *_label_problems(labels)):
            self._note(where, problem)
        if any(rule.name == other.name for other in self.rules):
            self._note(where, "there is another rule of this name; names tell rules apart")
        if len(self.problems) == before:
            self.rules.append(rule)

    def _seconds(self, where: str, given: Mapping[str, object], key: str) -> float:
        value = given.get(key)
        if value is None:
            return 0.0
        try:
            return duration_seconds(value if isinstance(value, str) else repr(value))
        except ValueError as error:
            self._note(where, f"`{key}`: {error}")
        return 0.0

    def _texts(self, where: str, given: Mapping[str, object], key: str) -> dict[str, str]:
        """The labels or annotations under `key`, each a template that can be used."""
        value = given.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._note(where, f"`{key}` is a mapping of names to texts")
            return {}
        good = {}
        for name, given_text in value.items():
            # A label without a value is no label, and an annotation is empty.
            text = "" if given_text is None else given_text
            problem = _template_problem(name, text)
            if problem:
                self._note(where, f"`{key}.{name}`: {problem}")
            else:
                good[name] = text
        return good


def _template_problem(name: object, text: object) -> str:
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        return "a name has letters, digits and _ and does not begin with a digit"
    if not isinstance(text, str):
        return "the value is a text"
    return templates.problem(text)


def _label_problems(labels: Mapping[str, str]) -> Iterable[str]:
    for name in sorted(_TAKEN & labels.keys()):
        yield f"`labels.{name}` is set by the evaluation; choose another name"
    for name in _FIXED:
        if "{{" in labels.get(name, ""):
            yield f"`labels.{name}` is the same for all alerts of a rule; write it without {{{{"
    severity = labels.get("severity", SEVERITIES[0])
    if "{{" not in severity and severity not in SEVERITIES:
        yield f"`labels.severity` is {severity!r}; write {_listed(SEVERITIES)}"


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _listed(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}" if most else last
