"""Floats as Go computes them: division by zero gives an infinity, never an exception.

Powers with a fraction in the exponent may differ from Go's in the last digit.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping


def divide(left: float, right: float) -> float:
    """IEEE 754 division.

    >>> divide(1.0, 0.0), divide(0.0, 0.0)
    (inf, nan)
    """
    if right:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: float, right: float) -> float:
    """Go's math.Mod: the sign is that of `left`.

    >>> modulo(-7.0, 3.0), modulo(1.0, 0.0)
    (-1.0, nan)
    """
    try:
        return math.fmod(left, right)
    except ValueError:
        return math.nan


def power(base: float, exponent: float) -> float:
    """Go's math.Pow.

    >>> power(2.0, -1.0), power(-1.0, 0.5), power(0.0, -1.0), power(-10.0, 309.0)
    (0.5, nan, inf, -inf)
    """
    odd = math.isfinite(exponent) and math.fmod(exponent, 2) in (1.0, -1.0)
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and odd else math.inf
    except ValueError:
        if base == 0:
            return math.copysign(math.inf, base) if odd else math.inf
        return math.nan


def _floor(value: float) -> float:
    return math.copysign(math.floor(value), value) if math.isfinite(value) else value


def _ceil(value: float) -> float:
    return math.copysign(math.ceil(value), value) if math.isfinite(value) else value


def _round(value: float, nearest: float = 1.0) -> float:
    """The nearest multiple, halves up, by way of the inverse as Prometheus does it."""
    inverse = divide(1.0, nearest)
    return divide(_floor(value * inverse + 0.5), inverse)


def _clamp_min(value: float, least: float) -> float:
    return math.nan if math.isnan(value) or math.isnan(least) else max(value, least)


def _clamp_max(value: float, most: float) -> float:
    return math.nan if math.isnan(value) or math.isnan(most) else min(value, most)


ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
    "%": modulo,
    "^": power,
}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
SET_OPERATORS = frozenset({"and", "or", "unless"})
#: Functions of each element's value; further arguments are scalars.
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "abs": abs,
    "ceil": _ceil,
    "floor": _floor,
    "round": _round,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
}
