"""What an expression may be here, decided when a rule is loaded.

pgheadroom evaluates instant vectors over the series of one poll. What needs history or other
functions is refused in sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import promql_parser as promql

from exporter.config.pattern import PatternError, compile_pattern
from exporter.rules.arithmetic import ARITHMETIC, COMPARISONS, FUNCTIONS, SET_OPERATORS
from exporter.rules.vectors import AGGREGATIONS, NAME

ELSEWHERE = "load it in Prometheus instead"
#: The parser recurses on its own stack, and so does the evaluation.
_LONGEST = 10_000
_DEEPEST = 64
#: Strings and comments, and which of them are raw strings.
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|#[^\n]*|`(?P<raw>[^`]*)`""", re.DOTALL)
_OPERATORS = frozenset({*ARITHMETIC, *COMPARISONS, *SET_OPERATORS})
_CALLS = frozenset({*FUNCTIONS, "vector", "scalar"})
_INSTEAD = {
    "absent": "compare pgheadroom_up with 0: the last good series are published again while"
    " polls fail",
    "absent_over_time": "compare pgheadroom_up with 0",
}


def parse(text: str) -> tuple[Any, list[str]]:
    """The expression of `text`, and why it cannot be evaluated here (empty when it can)."""
    if len(text) > _LONGEST:
        return None, [f"the expression is longer than {_LONGEST} characters"]
    if not text.strip():
        return None, ["the expression is missing"]
    if any("\\" in (found["raw"] or "") for found in _QUOTED.finditer(text)):
        # The parser reads escapes there, and Prometheus does not.
        return None, ["a string in backquotes has a backslash; write it in double quotes"]
    try:
        root = promql.parse(text)
    except ValueError as error:
        return None, [f"the expression is not PromQL: {error}"]
    except BaseException as error:
        # The parser panics on a few inputs (`offset NaN`), and a panic is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        return None, ["the expression is not PromQL: the parser gave up on it"]
    return root, list(dict.fromkeys(_problems(root, 0)))


def value_is_scalar(node: Any) -> bool:  # noqa: ANN401  a node of any class
    """Whether a node gives one number rather than a vector."""
    match node:
        case promql.NumberLiteral():
            return True
        case promql.ParenExpr() | promql.UnaryExpr():
            return value_is_scalar(node.expr)
        case promql.BinaryExpr():
            return value_is_scalar(node.lhs) and value_is_scalar(node.rhs)
        case promql.Call():
            return bool(node.func.name == "scalar")
    return False


def selected_name(selector: Any) -> str:  # noqa: ANN401  a parsed selector
    """The name of the series that a selector reads, "" where it does not name one."""
    if selector.name:
        return str(selector.name)
    for matcher in selector.matchers.matchers:
        if matcher.name == NAME and matcher.op == promql.MatchOp.Equal:
            return str(matcher.value)
    return ""


def children(node: Any) -> list[Any]:  # noqa: ANN401  nodes of any class
    """The nodes right below a node."""
    match node:
        case (
            promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr() | promql.AggregateExpr()
        ):
            return [node.expr]
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.MatrixSelector():
            return [node.vector_selector]
        case promql.Call():
            return list(node.args)
    return []


def _problems(node: Any, depth: int) -> Iterable[str]:  # noqa: ANN401  a node of any class
    if depth > _DEEPEST:
        yield f"the expression is nested more than {_DEEPEST} deep"
        return
    match node:
        case promql.VectorSelector():
            yield from _selector_problems(node)
        case promql.MatrixSelector() | promql.SubqueryExpr():
            yield f"a range such as [5m] needs history; {ELSEWHERE}"
        case promql.AggregateExpr():
            yield from _aggregation_problems(node)
        case promql.Call():
            yield from _call_problems(node)
        case promql.BinaryExpr():
            yield from _binary_problems(node)
        case promql.StringLiteral():
            yield f"a string is no value for an alert; {ELSEWHERE}"
    for child in children(node):
        yield from _problems(child, depth + 1)


def _selector_problems(node: Any) -> Iterable[str]:  # noqa: ANN401  a parsed selector
    if node.offset is not None or node.at is not None:
        yield f"offset and @ need history; {ELSEWHERE}"
    if node.matchers.or_matchers:
        yield "matchers are joined with commas; `or` between matchers is not PromQL"
    if not selected_name(node):
        yield "a selector does not name its series; write the name before the braces"
    for matcher in node.matchers.matchers:
        if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
            try:
                compile_pattern(matcher.value)
            except PatternError as error:
                yield f"the pattern of {matcher.name} cannot be used: {error}"


def _aggregation_problems(node: Any) -> Iterable[str]:  # noqa: ANN401  a parsed aggregation
    if str(node.op) not in AGGREGATIONS:
        known = ", ".join(AGGREGATIONS)
        yield f"{node.op} is not evaluated here ({known} are); {ELSEWHERE}"


def _call_problems(node: Any) -> Iterable[str]:  # noqa: ANN401  a parsed call
    name = node.func.name
    if name in _CALLS:
        return
    if promql.ValueType.Matrix in node.func.arg_types:
        yield f"{name}() needs history; {ELSEWHERE}"
    elif name in _INSTEAD:
        yield f"{name}() is not evaluated here; {_INSTEAD[name]}"
    else:
        yield f"{name}() is not evaluated here ({', '.join(sorted(_CALLS))} are); {ELSEWHERE}"


def _binary_problems(node: Any) -> Iterable[str]:  # noqa: ANN401  a parsed binary expression
    if str(node.op) not in _OPERATORS:
        yield f"the operator {node.op} is not evaluated here; {ELSEWHERE}"
    fill = node.modifier.fill_values if node.modifier is not None else None
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        yield f"fill is not evaluated here; {ELSEWHERE}"
