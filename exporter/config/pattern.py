r"""Regular expressions, as rules, routes, mutes and silences write them: RE2, as in Prometheus.

Python's `re` tries every way to match: one pattern of a silence, or of a rule, could keep the
process busy for years. RE2 takes time in proportion to the text, whatever the pattern
(https://github.com/google/re2/wiki/WhyRE2). Patterns are anchored at both ends and `.` matches a
line break, as in Prometheus 3
(https://prometheus.io/docs/prometheus/3.0/migration/#regular-expressions-match-newlines).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import re2

#: One byte, perhaps of half a character: the only thing that RE2 knows and Go's reading of it not.
_ONE_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
#: How many answers a pattern keeps; the same labels come with every poll.
_REMEMBERED = 1024


class PatternError(ValueError):
    """Why a pattern cannot be used, as a sentence."""


def compile_pattern(pattern: str) -> Callable[[str], bool]:
    """What says of a text whether the whole of it is of `pattern`.

    Raises:
        PatternError: it is no regular expression, or one that needs more than 8 MB.
    """
    if _ONE_BYTE.search(pattern):
        raise PatternError(f"{pattern!r} is not a regular expression: \\C is not known")
    try:
        compiled = re2.compile(pattern.encode(), _options())
    except UnicodeEncodeError:
        raise PatternError(f"{pattern!r} has half a character in it") from None
    except re2.error as error:
        reason = error.args[0].decode(errors="replace")
        raise PatternError(f"{pattern!r} is not a regular expression: {reason}") from None

    @lru_cache(maxsize=_REMEMBERED)
    def matches(text: str) -> bool:
        return compiled.fullmatch(text.encode(errors="replace")) is not None

    return matches


def _options() -> re2.Options:
    options = re2.Options()
    options.dot_nl = True
    options.never_capture = True
    options.log_errors = False
    return options
