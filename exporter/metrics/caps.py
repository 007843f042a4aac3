"""A bound on series whose label values clients choose, under which sums stay exact.

A client can set any `application_name`; a million of them must not become a million series. The
largest tuples keep their names, for `sticky_seconds` after they were last among the largest so that
lines on a graph do not flicker; the rest is summed into `__other__`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

OTHER = "__other__"
MOST_TUPLES = 200
STICKY_SECONDS = 600.0

Key = TypeVar("Key", bound=Hashable)


class Cap(Generic[Key]):
    """Which tuples of one server keep their names."""

    def __init__(self, most: int = MOST_TUPLES, sticky_seconds: float = STICKY_SECONDS) -> None:
        self._most = most
        self._sticky = sticky_seconds
        self._large_at: dict[Key, float] = {}

    def named(self, counts: Mapping[Key, int], now: float) -> frozenset[Key]:
        """The keys that keep their names at `now` (seconds): at most `most` of them.

        The larger half always do; places in the other half are kept while they are sticky.

        >>> cap = Cap(most=2)
        >>> sorted(cap.named({"a": 9, "b": 2, "c": 1}, now=0.0))
        ['a', 'b']
        >>> sorted(cap.named({"a": 9, "b": 2, "c": 3}, now=1.0))
        ['a', 'b']
        >>> sorted(cap.named({"a": 9, "b": 2, "c": 3}, now=700.0))
        ['a', 'c']
        """
        if len(counts) <= self._most:
            named = list(counts)
            fresh = named
        else:
            fresh = sorted(counts, key=lambda key: (-counts[key], str(key)))[: self._most]
            sticky = [key for key, at in self._large_at.items() if at > now - self._sticky]
            half = max(1, self._most // 2)
            order = [*fresh[:half], *(key for key in sticky if key in counts), *fresh[half:]]
            named = list(dict.fromkeys(order))[: self._most]
        large = set(fresh)
        self._large_at = {key: now if key in large else self._large_at[key] for key in named}
        return frozenset(named)


def folded(counts: Mapping[Key, int], named: Iterable[Key], other: Key) -> dict[Key, int]:
    """`counts` with every key that is not in `named` summed into `other`.

    >>> folded({"a": 3, "b": 2, "c": 1}, {"a"}, "__other__")
    {'a': 3, '__other__': 3}
    """
    keep = frozenset(named)
    result: dict[Key, int] = {}
    for key, count in counts.items():
        target = key if key in keep else other
        result[target] = result.get(target, 0) + count
    return result
