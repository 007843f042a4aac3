"""Whether an expression takes the series of several endpoints together.

Prometheus has all series at hand. Here the rules are evaluated over each server and each pooler by
itself, and whoever asks for more would find something else than in Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import promql_parser as promql

from exporter.config.pattern import compile_pattern
from exporter.config.pooler import DIRECT, PoolerThresholds
from exporter.config.server import Thresholds
from exporter.rules.expression import ELSEWHERE, children, selected_name, value_is_scalar

_POOLER_PREFIXES = ("pgheadroom_pooler_", "pgheadroom_pool_")
_OF_SERVERS = frozenset({"pgheadroom_pool_capacity", "pgheadroom_pool_capacity_ratio"})
#: Series of servers and of poolers; the matchers tell whose are meant.
_OF_BOTH = frozenset(
    {
        "pgheadroom_threshold",
        "pgheadroom_connect_probe_success",
        "pgheadroom_connect_probe_seconds",
    }
)
Kinds = frozenset[str]
"""Of endpoints: "server" and "pooler", which are also the labels that tell them apart."""
_SERVER, _POOLER = Kinds({"server"}), Kinds({"pooler"})
_APART = "each is evaluated by itself here"


def crossings(node: Any) -> Iterable[str]:  # noqa: ANN401  a node of any class
    """Why an expression that was checked cannot be evaluated for each endpoint by itself."""
    match node:
        case promql.AggregateExpr() if reads(node):
            yield from _lost(node, kinds_of(node.expr), group_keeps, "group by")
        case promql.Call() if node.func.name == "scalar" and reads(node):
            instead = f"match on (server), or {ELSEWHERE}"
            yield f"`scalar` takes servers together, and {_APART}; {instead}"
        case promql.BinaryExpr() if not (value_is_scalar(node.lhs) or value_is_scalar(node.rhs)):
            yield from _pair_crossings(node)
    for child in children(node):
        yield from crossings(child)


def _pair_crossings(node: Any) -> Iterable[str]:  # noqa: ANN401  a parsed binary expression
    left, right = kinds_of(node.lhs), kinds_of(node.rhs)
    if not (left and right):
        return
    if str(node.op) == "or" or not left.isdisjoint(right):
        yield from _lost(node, left | right, match_keeps, "match on")
        return
    one, other = (_about(each) for each in (node.lhs, node.rhs))
    yield f"{one} and {other}, and {_APART}; {ELSEWHERE}"


def _about(node: Any) -> str:  # noqa: ANN401  a node whose result is of one kind of endpoint
    kinds = kinds_of(node)
    name = next(selected_name(each) for each in selectors(node) if kinds_of(each) == kinds)
    return f"{name} is about a {''.join(kinds)}"


def _lost(
    node: Any,  # noqa: ANN401  a parsed aggregation or binary expression
    kinds: Kinds,
    keeps: Callable[[Any, str], bool],
    how: str,
) -> Iterable[str]:
    for label in sorted(_SERVER | kinds, reverse=True):
        if kinds and not keeps(node, label):
            instead = f"{how} ({label}) too, or {ELSEWHERE}"
            yield f"`{node.op}` takes {label}s together, and {_APART}; {instead}"


def group_keeps(node: Any, label: str) -> bool:  # noqa: ANN401  a parsed aggregation
    """Whether elements that differ in `label` are in different groups."""
    if node.modifier is None:
        return False
    grouped = node.modifier.type == promql.AggModifierType.By
    return bool((label in node.modifier.labels) == grouped)


def match_keeps(node: Any, label: str) -> bool:  # noqa: ANN401  a parsed binary expression
    """Whether elements that differ in `label` never match."""
    if node.modifier is None or node.modifier.matching is None:
        return True
    matching = node.modifier.matching
    return bool((label in matching.labels) == (matching.type == promql.LabelModifierType.Include))


def selectors(node: Any) -> Iterable[Any]:  # noqa: ANN401  a node of any class
    """All selectors below a node."""
    if isinstance(node, promql.VectorSelector):
        yield node
    for child in children(node):
        yield from selectors(child)


def reads(node: Any) -> bool:  # noqa: ANN401  a node of any class
    """Whether a node reads series; if not, it is the same wherever it is evaluated."""
    return next(iter(selectors(node)), None) is not None


def kinds_of(node: Any) -> Kinds:  # noqa: ANN401  a node of any class
    """Of which endpoints a node's result can have elements; empty where it reads no series."""
    if isinstance(node, promql.VectorSelector):
        return _kinds_selected(node)
    found = [kinds_of(child) for child in children(node)]
    if isinstance(node, promql.BinaryExpr) and all(found):
        left, right = found
        return {"or": left | right, "unless": left}.get(str(node.op), left & right)
    return Kinds().union(*found)


def _kinds_selected(selector: Any) -> Kinds:  # noqa: ANN401  a parsed selector
    name = selected_name(selector)
    if name not in _OF_BOTH:
        pooled = name.startswith(_POOLER_PREFIXES) and name not in _OF_SERVERS
        return _POOLER if pooled else _SERVER
    probed = (("pooler", ""), ("via", DIRECT))
    of_server = all(_admits(selector, label, text) for label, text in probed)
    of_pooler = not any(_wants(selector, label, text) for label, text in probed)
    if not any(_admits(selector, "threshold", each) for each in Thresholds.model_fields):
        of_server = False
    if not any(_admits(selector, "threshold", each) for each in PoolerThresholds.model_fields):
        of_pooler = False
    return (_SERVER if of_server else Kinds()) | (_POOLER if of_pooler else Kinds())


def _admits(selector: Any, label: str, text: str) -> bool:  # noqa: ANN401  a parsed selector
    """Whether an element whose `label` is `text` can be selected."""
    return all(_meets(each, text) for each in selector.matchers.matchers if each.name == label)


def _wants(selector: Any, label: str, text: str) -> bool:  # noqa: ANN401  a parsed selector
    """Whether only elements whose `label` is `text` are selected."""
    return any(
        each.name == label and each.op == promql.MatchOp.Equal and each.value == text
        for each in selector.matchers.matchers
    )


def _meets(matcher: Any, text: str) -> bool:  # noqa: ANN401  a parsed matcher
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return bool((matcher.value == text) == (matcher.op == promql.MatchOp.Equal))
    found = compile_pattern(matcher.value)(text)
    return bool(found == (matcher.op == promql.MatchOp.Re))
