"""All rules over the series of one poll."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from exporter.rules import expression
from exporter.rules.closures import Vector, vector
from exporter.rules.model import Element, Result, Rule, Scope
from exporter.rules.scope import scope_of
from exporter.rules.vectors import NAME, EvaluationError, Points, nameless


class Sample(Protocol):
    """One sample, as prometheus_client has it."""

    @property
    def name(self) -> str:
        """The series, with the suffix that its kind has in the exposition."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels without the name."""

    @property
    def value(self) -> float:
        """The reading."""


class Family(Protocol):
    """A metric family, as prometheus_client has it."""

    @property
    def samples(self) -> Sequence[Any]:
        """Its `Sample`s."""


class Index:
    """The samples of one poll, by name; points are made when a selector first asks for them."""

    def __init__(self, samples: Mapping[str, list[Sample]]) -> None:
        self._samples = samples
        self._points: dict[str, Points] = {}

    @classmethod
    def of(cls, families: Iterable[Family]) -> Index:
        """The index of metric families."""
        samples: defaultdict[str, list[Sample]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                samples[sample.name].append(sample)
        return cls(samples)

    def points(self, name: str) -> Points:
        """All elements of the series `name`; labels that are empty are absent, as in a scrape."""
        known = self._points.get(name)
        if known is None:
            known = [
                (
                    {NAME: name, **{key: value for key, value in each.labels.items() if value}},
                    float(each.value),
                )
                for each in self._samples.get(name, ())
            ]
            self._points[name] = known
        return known


class RuleSet:
    """Rules, compiled once."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile `rules`.

        Raises:
            ValueError: an expression was not checked by `load` and cannot be evaluated.
        """
        self.rules = tuple(rules)
        self._compiled = tuple((rule, _compile(rule)) for rule in self.rules)

    def of_scope(self, scope: Scope) -> RuleSet:
        """Those rules that watch servers ("server"), or pgheadroom itself ("self")."""
        return RuleSet(rule for rule in self.rules if rule.scope == scope)

    def evaluate(self, index: Index) -> tuple[Result, ...]:
        """What each rule finds, in the order of the rules. Nothing is raised."""
        return tuple(_result(rule, evaluate, index) for rule, evaluate in self._compiled)


def _compile(rule: Rule) -> Vector:
    root, problems = expression.parse(rule.expr)
    problems = problems or scope_of(root)[1]
    if problems:
        raise ValueError(f"rule {rule.name}: {'; '.join(problems)}")
    return vector(root)


def _result(rule: Rule, evaluate: Vector, index: Index) -> Result:
    try:
        elements = tuple(Element(nameless(labels), value) for labels, value in evaluate(index))
        _check_identities(rule, elements)
    except EvaluationError as error:
        return Result(rule, (), str(error))
    return Result(rule, elements)


def _check_identities(rule: Rule, elements: tuple[Element, ...]) -> None:
    """Two elements that the rule's labels make one alert are an error, as in Prometheus."""
    if len(elements) < 2:  # noqa: PLR2004  two can collide
        return
    identities = {frozenset(rule.alert_labels(element).items()) for element in elements}
    if len(identities) < len(elements):
        raise EvaluationError(
            "vector contains metrics with the same labelset after applying alert labels"
        )
