"""The unit tests of rules, in promtool's format, run by the engine that pages; pure.

See https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from exporter.alerting.alerts import Alerts, AlertState, advance
from exporter.alerting.rule_test_keys import check_keys
from exporter.rules import expression
from exporter.rules.closures import vector
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.model import Rule
from exporter.rules.rulefile import duration_seconds
from exporter.rules.series import Series, labels_of, values_of
from exporter.rules.vectors import NAME, EvaluationError

#: promtool's own default, in seconds.
_INTERVAL = 60.0
_SAME = 1e-9


class _Sample(NamedTuple):
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class _Family:
    samples: Sequence[_Sample]


@dataclass(slots=True)
class _Case:
    """One entry of `tests:`, with what it expects by the seconds after its beginning."""

    name: str
    series: list[Series]
    alerts: dict[float, list[Mapping[str, Any]]] = field(default_factory=dict)
    expressions: dict[float, list[Mapping[str, Any]]] = field(default_factory=dict)


def failures(document: Mapping[str, Any], rules: Iterable[Rule]) -> list[str]:
    """What does not come out as the test file `document` expects, a sentence each.

    Raises:
        ValueError: the file is not in promtool's format, as far as it can be run here.
    """
    check_keys(document)
    every = _seconds(document, "evaluation_interval") or _INTERVAL
    engine = RuleSet(rules)
    found: list[str] = []
    for number, raw in enumerate(_list(document, "tests"), 1):
        case = _case(raw, f"test number {number}", every)
        found += [f"{case.name}: {problem}" for problem in _run(case, engine, every)]
    return found


def _case(raw: Mapping[str, Any], default: str, every: float) -> _Case:
    interval = _seconds(raw, "interval") or every
    series = [
        Series(labels_of(str(each["series"])), values_of(str(each["values"])), interval)
        for each in _list(raw, "input_series")
    ]
    case = _Case(str(raw.get("name") or default), series)
    for key, into in (("alert_rule_test", case.alerts), ("promql_expr_test", case.expressions)):
        for each in _list(raw, key):
            into.setdefault(_seconds(each, "eval_time"), []).append(each)
    return case


def _run(case: _Case, rules: RuleSet, every: float) -> Iterator[str]:
    alerts: Alerts = {}
    last = max([*case.alerts, *case.expressions], default=0.0)
    due = sorted({*case.alerts, *case.expressions})
    for step in range(math.floor(last / every + _SAME) + 1):
        at = step * every
        results = rules.evaluate(Index.of([_Family(_samples(case.series, at))]))
        yield from (f"{each.rule.name} at {at:g}s: {each.error}" for each in results if each.error)
        alerts = advance(alerts, results, at, observed=True)
        # What is asked between two evaluations is answered by the one before.
        while due and due[0] < at + every - _SAME:
            asked = due.pop(0)
            yield from _alert_failures(case.alerts.get(asked, ()), alerts, asked)
            for test in case.expressions.get(asked, ()):
                yield from _expression_failures(test, case.series, alerts, asked)


def _samples(series: Iterable[Series], at: float) -> list[_Sample]:
    seen = ((each, each.at(at)) for each in series)
    return [
        _Sample(
            each.labels.get(NAME, ""),
            {name: text for name, text in each.labels.items() if name != NAME},
            value,
        )
        for each, value in seen
        if value is not None
    ]


def _alert_failures(tests: Iterable[Mapping[str, Any]], alerts: Alerts, at: float) -> Iterator[str]:
    for test in tests:
        name = str(test["alertname"])
        wanted = [
            (
                {**_labels(each), "alertname": name},
                _texts(each, "exp_annotations"),
            )
            for each in _list(test, "exp_alerts")
        ]
        got = [
            (dict(alert.labels), dict(alert.annotations))
            for alert in alerts.values()
            if alert.rule == name and alert.state is AlertState.FIRING
        ]
        for missing in (each for each in wanted if each not in got):
            yield f"{name} at {at:g}s: expected but not firing: {_alert_words(missing)}"
        for extra in (each for each in got if each not in wanted):
            yield f"{name} at {at:g}s: firing but not expected: {_alert_words(extra)}"


def _alert_words(alert: tuple[dict[str, str], dict[str, str]]) -> str:
    return f"labels {alert[0]}, annotations {alert[1]}"


def _expression_failures(
    test: Mapping[str, Any], series: Iterable[Series], alerts: Alerts, at: float
) -> Iterator[str]:
    text = str(test["expr"])
    root, problems = expression.parse(text)
    if problems:
        raise ValueError(f"{text}: {'; '.join(problems)}; such a test is for promtool")
    samples = [*_samples(series, at), *_alert_samples(alerts)]
    try:
        got = [
            (dict(labels), value) for labels, value in vector(root)(Index.of([_Family(samples)]))
        ]
    except EvaluationError as error:
        yield f"{text} at {at:g}s: {error}"
        return
    wanted = [
        (labels_of(str(each.get("labels", "{}"))), float(each["value"]))
        for each in _list(test, "exp_samples")
    ]
    if not _same(wanted, got):
        yield f"{text} at {at:g}s: expected {wanted}, got {got}"


def _alert_samples(alerts: Alerts) -> Iterator[_Sample]:
    """`ALERTS`, as Prometheus has it."""
    for alert in alerts.values():
        yield _Sample("ALERTS", {**alert.labels, "alertstate": alert.state.value}, 1.0)


def _same(
    wanted: list[tuple[dict[str, str], float]], got: list[tuple[dict[str, str], float]]
) -> bool:
    values = {frozenset(labels.items()): value for labels, value in got}
    return len(wanted) == len(got) and all(
        math.isclose(values.get(frozenset(labels.items()), math.nan), value, rel_tol=_SAME)
        or (math.isnan(value) and math.isnan(values.get(frozenset(labels.items()), 0.0)))
        for labels, value in wanted
    )


def _list(raw: Mapping[str, Any], key: str) -> list[Any]:
    value = raw.get(key) or []
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError(f"`{key}` is a list of mappings")
    return value


def _labels(raw: Mapping[str, Any]) -> dict[str, str]:
    """The expected labels; one without a value is none."""
    return {name: text for name, text in _texts(raw, "exp_labels").items() if text}


def _texts(raw: Mapping[str, Any], key: str) -> dict[str, str]:
    return {
        str(name): "" if text is None else str(text) for name, text in (raw.get(key) or {}).items()
    }


def _seconds(raw: Mapping[str, Any], key: str) -> float:
    """A duration in seconds, 0 where none is given."""
    text = raw.get(key)
    return 0.0 if text is None else duration_seconds(str(text))
