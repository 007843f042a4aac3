"""Over which series a rule is evaluated: those of each server and pooler, or pgheadroom's own.

A rule whose result would not say which server it is about is refused, and one that would find
something else here than in Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import promql_parser as promql

from exporter.rules.arithmetic import FUNCTIONS, SET_OPERATORS
from exporter.rules.endpoints import crossings, group_keeps, match_keeps, selectors
from exporter.rules.expression import ELSEWHERE, selected_name, value_is_scalar
from exporter.rules.model import Scope

PREFIX = "pgheadroom_"
#: Series about pgheadroom itself; they have no `server`.
SELF_PREFIXES = (
    *("pgheadroom_outbox_", "pgheadroom_notification", "pgheadroom_state_"),
    *("pgheadroom_config_", "pgheadroom_turn_", "pgheadroom_heartbeat_", "pgheadroom_silences_"),
)
#: Made of what the rules find, after they have been evaluated.
_FOUND = "pgheadroom_alerts"
_NO_SERVER = (
    "the result would not carry the label server; keep it with by (server), on (server) or"
    " group_left ()"
)


def scope_of(root: Any) -> tuple[Scope, list[str]]:  # noqa: ANN401  a node of any class
    """What a checked expression watches, and why it cannot be evaluated over that alone."""
    names = sorted({selected_name(each) for each in selectors(root)})
    own = [name for name in names if name.startswith(SELF_PREFIXES)]
    problem = _unreadable(names, own)
    if problem:
        return "server", [problem]
    if own:
        return "self", []
    if not carries(root, "server"):
        return "server", [_NO_SERVER]
    return "server", list(dict.fromkeys(crossings(root)))


def _unreadable(names: Sequence[str], own: Sequence[str]) -> str:
    """Why the series `names` cannot be read by one rule; `own` are those of pgheadroom itself."""
    if not names:
        return "the expression reads no series"
    foreign = [name for name in names if not name.startswith(PREFIX)]
    if foreign:
        only = f"only pgheadroom's own series ({PREFIX}...) are evaluated here"
        return f"{' and '.join(foreign)}: {only}; {ELSEWHERE}"
    if _FOUND in names:
        return f"{_FOUND} is made of what the rules find, so none can read it; {ELSEWHERE}"
    if own and len(own) < len(names):
        other = next(name for name in names if name not in own)
        return f"{own[0]} is about pgheadroom itself and {other} about a server; make two rules"
    return ""


def carries(node: Any, label: str) -> bool:  # noqa: ANN401  a node of any class
    """Whether every element of a node's result has `label`, where every series read has it."""
    match node:
        case promql.ParenExpr() | promql.UnaryExpr():
            return carries(node.expr, label)
        case promql.AggregateExpr():
            return group_keeps(node, label) and carries(node.expr, label)
        case promql.Call():
            return node.func.name in FUNCTIONS and carries(node.args[0], label)
        case promql.BinaryExpr():
            return _pair_carries(node, label)
    return isinstance(node, promql.VectorSelector)


def _pair_carries(node: Any, label: str) -> bool:  # noqa: ANN401  a parsed binary expression
    left, right = carries(node.lhs, label), carries(node.rhs, label)
    if value_is_scalar(node.lhs) or value_is_scalar(node.rhs):
        return left or right
    operator = str(node.op)
    if operator == "or":
        return left and right
    modifier = node.modifier
    if operator in SET_OPERATORS or modifier is None:
        return left
    many, one = left, right
    if modifier.card == promql.VectorMatchCardinality.OneToMany:
        many, one = right, left
    if modifier.card != promql.VectorMatchCardinality.OneToOne:
        return one if label in (modifier.group_labels or ()) else many
    return many and match_keeps(node, label)
