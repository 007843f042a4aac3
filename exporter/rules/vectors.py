"""Instant vectors: matching, set operators and aggregation, as in Prometheus.

The rules are those of https://prometheus.io/docs/prometheus/latest/querying/operators/. A point's
labels include `__name__` while the series has one. They are shared and never changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

NAME = "__name__"
Labels = Mapping[str, str]
Point = tuple[Labels, float]
Points = list[Point]
Operate = Callable[[float, float], float | None]
"""The value of a pair, None where a comparison drops it."""
Key = Callable[[Labels], Hashable]


class EvaluationError(Exception):
    """Why an expression has no result, in Prometheus' words without label values."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How the elements of two vectors find one another.

    `names` are the labels of `on`, or those of `ignoring`. `grouped` is the side that may have
    many elements per group: "left" for `group_left`, "" for one-to-one. `include` are the labels
    that the other side gives to the result.
    """

    on: bool = False
    names: tuple[str, ...] = ()
    grouped: str = ""
    include: tuple[str, ...] = ()

    def key(self) -> Key:
        """What elements that match have in common."""
        if self.on:
            return by(self.names)
        return without(self.names)

    def labels(self, many: Labels, one: Labels, *, drop_name: bool) -> Labels:
        """The labels of the result of a pair."""
        result = dict(many)
        if drop_name:
            result.pop(NAME, None)
        if not self.grouped:
            kept = self.names if self.on else result.keys() - self.names
            return {name: value for name, value in result.items() if name in kept}
        for name in self.include:
            result.pop(name, None)
            if name in one:
                result[name] = one[name]
        return result


def by(names: tuple[str, ...]) -> Key:
    """The values of `names`; an absent label is a value of its own."""
    if len(names) == 1:
        (name,) = names
        return lambda labels: labels.get(name)
    return lambda labels: tuple(labels.get(name) for name in names)


def without(names: Iterable[str]) -> Key:
    """All labels but `names` and the series' name."""
    left_out = frozenset(names) | {NAME}
    return lambda labels: frozenset(item for item in labels.items() if item[0] not in left_out)


def nameless(labels: Labels) -> Labels:
    """`labels` without the name of the series."""
    return {name: value for name, value in labels.items() if name != NAME}


def matched(
    left: Points, right: Points, matching: Matching, operate: Operate, *, drop_name: bool
) -> Points:
    """The pairs of two vectors, each with the value that `operate(left, right)` gives.

    Raises:
        EvaluationError: an element has more partners than the matching allows.
    """
    if not left or not right:
        return []
    swapped = matching.grouped == "right"
    many, one = (right, left) if swapped else (left, right)
    key = matching.key()
    partners = _unique(one, key, "left" if swapped else "right")
    seen: set[Hashable] = set()
    result: Points = []
    for labels, value in many:
        group = key(labels)
        partner = partners.get(group)
        if partner is None:
            continue
        found = operate(partner[1], value) if swapped else operate(value, partner[1])
        if found is None:
            continue
        merged = matching.labels(labels, partner[0], drop_name=drop_name)
        mark = (group, frozenset(merged.items())) if matching.grouped else group
        if mark in seen:
            raise EvaluationError(_MULTIPLE[bool(matching.grouped)])
        seen.add(mark)
        result.append((merged, found))
    return result


_MULTIPLE = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    "multiple matches for labels: grouping labels must ensure unique matches",
)


def _unique(points: Points, key: Key, side: str) -> dict[Hashable, Point]:
    found: dict[Hashable, Point] = {}
    for point in points:
        group = key(point[0])
        if group in found:
            raise EvaluationError(
                f"found duplicate series for a match group on the {side} hand-side of the"
                " operation; many-to-many matching not allowed"
            )
        found[group] = point
    return found


def combined(operator: str, left: Points, right: Points, key: Key) -> Points:
    """`and`, `or`, `unless`: elements of either side, unchanged."""
    if operator == "or":
        groups = {key(labels) for labels, _ in left}
        return left + [point for point in right if key(point[0]) not in groups]
    groups = {key(labels) for labels, _ in right}
    return [point for point in left if (key(point[0]) in groups) == (operator == "and")]


def aggregated(
    points: Points, key: Key, labels_of: Callable[[Labels], Labels], reduce: Reduce
) -> Points:
    """One element per group, with the group's labels and what `reduce` makes of its values."""
    groups: dict[Hashable, tuple[Labels, list[float]]] = {}
    for labels, value in points:
        group = key(labels)
        if group in groups:
            groups[group][1].append(value)
        else:
            groups[group] = labels_of(labels), [value]
    return [(labels, reduce(values)) for labels, values in groups.values()]


Reduce = Callable[[list[float]], float]


def _real(values: list[float]) -> list[float]:
    """`values` without NaN, or with it where there is nothing else."""
    return [value for value in values if not math.isnan(value)] or values


def _mean(values: list[float]) -> float:
    """The running mean, as in Prometheus: equal values are their own mean, and no sum overflows."""
    mean = values[0]
    for count, value in enumerate(values[1:], 2):
        if math.isinf(mean) and (math.isfinite(value) or value == mean):
            continue
        mean += value / count - mean / count
    return mean


AGGREGATIONS: Mapping[str, Reduce] = {
    "sum": lambda values: float(sum(values)),
    "avg": _mean,
    "min": lambda values: min(_real(values)),
    "max": lambda values: max(_real(values)),
    "count": lambda values: float(len(values)),
}
