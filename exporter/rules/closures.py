"""Checked expressions become closures, once, so that a poll evaluates all rules in under 1 ms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import promql_parser as promql

from exporter.config.pattern import compile_pattern
from exporter.rules.arithmetic import ARITHMETIC, COMPARISONS, FUNCTIONS, SET_OPERATORS
from exporter.rules.expression import selected_name, value_is_scalar
from exporter.rules.vectors import (
    AGGREGATIONS,
    NAME,
    Labels,
    Matching,
    Operate,
    Points,
    aggregated,
    by,
    combined,
    matched,
    nameless,
    without,
)


class Source(Protocol):
    """Where selectors read."""

    def points(self, name: str) -> Points:
        """All elements of the series `name`."""


Vector = Callable[[Source], Points]
Scalar = Callable[[Source], float]


def vector(node: Any) -> Vector:  # noqa: ANN401  a checked node of any class
    """The closure of a node that gives a vector."""
    match node:
        case promql.VectorSelector():
            return _selector(node)
        case promql.ParenExpr():
            return vector(node.expr)
        case promql.UnaryExpr():
            return _mapped(vector(node.expr), lambda value: -value)
        case promql.AggregateExpr():
            return _aggregation(node)
        case promql.Call():
            return _call(node)
    return _binary(node)


def scalar(node: Any) -> Scalar:  # noqa: ANN401  a checked node of any class
    """The closure of a node that gives one number."""
    match node:
        case promql.NumberLiteral():
            constant = float(node.val)
            return lambda _source: constant
        case promql.ParenExpr():
            return scalar(node.expr)
        case promql.UnaryExpr():
            inner = scalar(node.expr)
            return lambda source: -inner(source)
        case promql.Call():
            return _only(vector(node.args[0]))
    left, right = scalar(node.lhs), scalar(node.rhs)
    operate: Callable[[float, float], float] = (ARITHMETIC | COMPARISONS)[str(node.op)]  # type: ignore[operator]
    return lambda source: float(operate(left(source), right(source)))


def _only(of: Vector) -> Scalar:
    """The value of a vector's only element, NaN where there is not exactly one."""

    def only(source: Source) -> float:
        points = of(source)
        return points[0][1] if len(points) == 1 else math.nan

    return only


def _selector(node: Any) -> Vector:  # noqa: ANN401  a parsed selector
    name = selected_name(node)
    equal = [
        (matcher.name, matcher.value, matcher.op == promql.MatchOp.Equal)
        for matcher in node.matchers.matchers
        if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
    ]
    alike = [
        (matcher.name, compile_pattern(matcher.value), matcher.op == promql.MatchOp.Re)
        for matcher in node.matchers.matchers
        if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
    ]
    if not equal and not alike:
        return lambda source: source.points(name)

    def meets(labels: Labels) -> bool:
        for label, value, wanted in equal:
            if (labels.get(label, "") == value) != wanted:
                return False
        return all(matches(labels.get(label, "")) == wanted for label, matches, wanted in alike)

    return lambda source: [point for point in source.points(name) if meets(point[0])]


def _mapped(of: Vector, function: Callable[[float], float]) -> Vector:
    """Every value changed, names dropped."""
    return lambda source: [(nameless(labels), function(value)) for labels, value in of(source)]


def _aggregation(node: Any) -> Vector:  # noqa: ANN401  a parsed aggregation
    of, reduce = vector(node.expr), AGGREGATIONS[str(node.op)]
    names = () if node.modifier is None else tuple(node.modifier.labels)
    if node.modifier is None or node.modifier.type == promql.AggModifierType.By:
        key, labels_of = by(names), _keeping(names)
    else:
        key, labels_of = without(names), _dropping((*names, NAME))
    return lambda source: aggregated(of(source), key, labels_of, reduce)


def _keeping(names: Iterable[str]) -> Callable[[Labels], Labels]:
    kept = frozenset(names)
    return lambda labels: {name: value for name, value in labels.items() if name in kept}


def _dropping(names: Iterable[str]) -> Callable[[Labels], Labels]:
    dropped = frozenset(names)
    return lambda labels: {name: value for name, value in labels.items() if name not in dropped}


def _call(node: Any) -> Vector:  # noqa: ANN401  a parsed call
    if node.func.name == "vector":
        number = scalar(node.args[0])
        return lambda source: [({}, number(source))]
    of, function = vector(node.args[0]), FUNCTIONS[node.func.name]
    numbers = [scalar(argument) for argument in node.args[1:]]

    def call(source: Source) -> Points:
        rest = [number(source) for number in numbers]
        return [(nameless(labels), function(value, *rest)) for labels, value in of(source)]

    return call


def _binary(node: Any) -> Vector:  # noqa: ANN401  a parsed binary expression
    operator, returns_bool = str(node.op), node.modifier is not None and node.modifier.return_bool
    if operator in SET_OPERATORS:
        left, right, key = vector(node.lhs), vector(node.rhs), _matching(node.modifier).key()
        return lambda source: combined(operator, left(source), right(source), key)
    operate = _operate(operator, returns_bool=returns_bool)
    drop_name = operator in ARITHMETIC or returns_bool
    if value_is_scalar(node.lhs) or value_is_scalar(node.rhs):
        return _with_scalar(node, operate, drop_name=drop_name)
    left, right, matching = vector(node.lhs), vector(node.rhs), _matching(node.modifier)
    return lambda source: matched(
        left(source), right(source), matching, operate, drop_name=drop_name
    )


def _operate(operator: str, *, returns_bool: bool) -> Operate:
    if operator in ARITHMETIC:
        return ARITHMETIC[operator]
    compare = COMPARISONS[operator]
    if returns_bool:
        return lambda left, right: float(compare(left, right))
    return lambda left, right: left if compare(left, right) else None


def _with_scalar(node: Any, operate: Operate, *, drop_name: bool) -> Vector:  # noqa: ANN401
    """A vector beside a number; a comparison that keeps an element keeps the element's value."""
    filters = str(node.op) in COMPARISONS and not drop_name
    scalar_is_left = value_is_scalar(node.lhs)
    of = vector(node.rhs if scalar_is_left else node.lhs)
    number = scalar(node.lhs if scalar_is_left else node.rhs)

    def with_scalar(source: Source) -> Points:
        constant, result = number(source), []
        for labels, value in of(source):
            found = operate(constant, value) if scalar_is_left else operate(value, constant)
            if found is not None:
                kept = nameless(labels) if drop_name else labels
                result.append((kept, value if filters else found))
        return result

    return with_scalar


def _matching(modifier: Any) -> Matching:  # noqa: ANN401  a parsed modifier, or None
    if modifier is None:
        return Matching()
    given = modifier.matching
    grouped = ""
    if modifier.card == promql.VectorMatchCardinality.ManyToOne:
        grouped = "left"
    elif modifier.card == promql.VectorMatchCardinality.OneToMany:
        grouped = "right"
    return Matching(
        on=given is not None and given.type == promql.LabelModifierType.Include,
        names=() if given is None else tuple(given.labels),
        grouped=grouped,
        include=tuple(modifier.group_labels or ()),
    )
