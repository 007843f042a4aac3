"""The series of a promtool test file: a selector, and its values in a notation of their own.

See https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.rules.vectors import NAME

#: How long a sample is seen when nothing follows it (`query.lookback-delta`).
LOOKBACK_SECONDS = 300.0
_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(.*)\})?\s*", re.DOTALL)
_PAIR = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*("(?:[^"\\]|\\.)*")\s*(?:,|$)')
_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|[Ii]nf|[Nn]a[Nn])"
_REPEATED = re.compile(rf"({_NUMBER})(?:([-+])({_NUMBER}))?x(\d+)")
_MISSING = re.compile(r"_(?:x(\d+))?")
#: Many enough for a day in seconds; more is a slip of the keyboard.
_MOST_VALUES = 100_000


def labels_of(text: str) -> dict[str, str]:
    """The labels of `name{a="b"}`, the name among them.

    >>> labels_of('up{job="x"}')
    {'__name__': 'up', 'job': 'x'}

    Raises:
        ValueError: `text` is not such a selector.
    """
    found = _SELECTOR.fullmatch(text)
    if not found:
        raise ValueError(f'{text!r} is not a series; write name{{label="value"}}')
    labels = {NAME: found[1]} if found[1] else {}
    rest = (found[2] or "").strip()
    while rest:
        pair = _PAIR.match(rest)
        if not pair:
            raise ValueError(f'{text!r} is not a series; write name{{label="value"}}')
        labels[pair[1]] = json.loads(pair[2])
        rest = rest[pair.end() :].strip()
    return labels


def values_of(text: str) -> list[float | str | None]:
    """The values, one a step: None where nothing is, "stale" where the series ends.

    >>> values_of("1 2+3x2 _ stale 0x1")
    [1.0, 2.0, 5.0, 8.0, None, 'stale', 0.0, 0.0]

    Raises:
        ValueError: `text` is not in that notation.
    """
    found: list[float | str | None] = []
    for word in text.split():
        found += _values(word)
        if len(found) > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} values")
    return found


def _values(word: str) -> Iterator[float | str | None]:
    if word == "stale":
        yield word
    elif missing := _MISSING.fullmatch(word):
        yield from [None] * min(int(missing[1] or 1), _MOST_VALUES + 1)
    elif repeated := _REPEATED.fullmatch(word):
        first, step = float(repeated[1]), float(repeated[3] or 0)
        step = -step if repeated[2] == "-" else step
        count = min(int(repeated[4]), _MOST_VALUES + 1)
        yield from (first + step * number if number else first for number in range(count + 1))
    elif re.fullmatch(_NUMBER, word):
        yield float(word)
    else:
        raise ValueError(f"{word!r} is not a value; write 1, 1+2x10, 0x5, _ or stale")


@dataclass(frozen=True, slots=True)
class Series:
    """One input series: its labels with the name, and a value every `interval` seconds."""

    labels: dict[str, str]
    values: Sequence[float | str | None]
    interval: float

    def at(self, seconds: float) -> float | None:
        """What a query sees `seconds` after the beginning; None where it sees nothing."""
        last = min(math.floor(seconds / self.interval + 1e-9), len(self.values) - 1)
        for index in range(last, -1, -1):
            if seconds - index * self.interval > LOOKBACK_SECONDS:
                return None
            value = self.values[index]
            if value is not None:
                return None if isinstance(value, str) else value
        return None
