"""Numbers as Go prints them, and Prometheus' `humanize` functions.

The thresholds and prefixes are those of Prometheus' template functions
(https://prometheus.io/docs/prometheus/latest/configuration/template_reference/#numbers); the tests
compare them with promtool.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

#: Go's shortest %g changes to an exponent here (strconv.FormatFloat, format 'g', precision -1).
_FIRST_EXPONENT = 6
_LAST_EXPONENT = -5
_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_BINARY = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|nan)", re.IGNORECASE)


def special(value: float) -> str | None:
    """Go's words for NaN and the infinities, None for a finite number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return None


def shortest(value: float) -> str:
    """The fewest digits that give `value` back, as Go's %v and %g print a float64.

    >>> shortest(0.8557), shortest(100.0), shortest(1e6), shortest(1e-5)
    ('0.8557', '100', '1e+06', '1e-05')
    """
    words = special(value)
    if words is not None:
        return words
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    mantissa, _, exponent = f"{Decimal(repr(value)).normalize():e}".partition("e")
    power = int(exponent)
    if _LAST_EXPONENT < power < _FIRST_EXPONENT:
        return f"{Decimal(repr(value)).normalize():f}"
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def four_digits(value: float) -> str:
    """Go's %.4g.

    >>> four_digits(85.5678)
    '85.57'
    """
    return special(value) or f"{value:.4g}"


def number(text: str) -> float:
    """The float that Go's ParseFloat reads from `text`.

    Raises:
        ValueError: `text` is not a decimal number.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _scaled(value: float, step: float, prefixes: tuple[str, ...]) -> tuple[float, str]:
    """`value` divided by `step` until it is below it, and the prefix that says how often."""
    prefix = ""
    for each in prefixes:
        if abs(value) < step:
            break
        prefix = each
        value /= step
    return value, prefix


def _magnified(value: float) -> tuple[float, str]:
    """`value` times 1000 until it is 1 or more, and the prefix that says how often."""
    prefix = ""
    for each in _SMALL:
        if abs(value) >= 1:
            break
        prefix = each
        value *= 1000
    return value, prefix


def humanize(value: float) -> str:
    """Four digits and a metric prefix.

    >>> humanize(1234567.0), humanize(0.0001)
    ('1.235M', '100u')
    """
    if value == 0 or special(value):
        return four_digits(value)
    scaled, prefix = _scaled(value, 1000, _LARGE) if abs(value) >= 1 else _magnified(value)
    return four_digits(scaled) + prefix


def humanize1024(value: float) -> str:
    """Four digits and a binary prefix.

    >>> humanize1024(1048576.0)
    '1Mi'
    """
    if abs(value) <= 1 or special(value):
        return four_digits(value)
    scaled, prefix = _scaled(value, 1024, _BINARY)
    return four_digits(scaled) + prefix


def humanize_percentage(value: float) -> str:
    """A ratio in per cent.

    >>> humanize_percentage(0.8557)
    '85.57%'
    """
    return four_digits(value * 100) + "%"


def humanize_duration(value: float) -> str:
    """Seconds in days, hours, minutes and seconds; below a second with a metric prefix.

    >>> humanize_duration(90), humanize_duration(0.0005), humanize_duration(100000)
    ('1m 30s', '500us', '1d 3h 46m 40s')
    """
    if special(value):
        return four_digits(value)
    if value == 0:
        return four_digits(value) + "s"
    if abs(value) < 1:
        scaled, prefix = _magnified(value)
        return f"{four_digits(scaled)}{prefix}s"
    sign = "-" if value < 0 else ""
    minutes, seconds = divmod(int(abs(value)), 60)
    if not minutes:
        return f"{sign}{four_digits(abs(value))}s"
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days}d", f"{hours}h", f"{minutes}m", f"{seconds}s"]
    skipped = 0 if days else 1 if hours else 2
    return sign + " ".join(parts[skipped:])
