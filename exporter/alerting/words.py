"""Numbers in words, as a person reads them on a telephone at night."""

from __future__ import annotations

import math
import re

from exporter.snapshot.holders import RoleHolder
from exporter.snapshot.pool import Pool, PoolUse
from exporter.snapshot.server import Failure

#: emitHostIdentityInfo in https://github.com/postgres/postgres/blob/master/src/interfaces/libpq/fe-connect.c
_PREAMBLE = re.compile(r"^connection to server (?:at|on) .*? failed: ")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration_words(seconds: float) -> str:
    """A length of time that is over, in at most two units.

    >>> [duration_words(s) for s in (0.4, 45, 90, 180, 3900, 90000)]
    ['0 s', '45 s', '1 min 30 s', '3 min', '1 h 5 min', '1 d 1 h']
    """
    whole = round(max(0.0, seconds))
    for unit, name, smaller, small_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= unit:
            count, rest = divmod(whole, unit)
            part = rest // smaller
            return f"{count} {name} {part} {small_name}" if part else f"{count} {name}"
    return f"{whole} s"


def about_words(seconds: float) -> str:
    """A length of time that is only forecast, rounded down to what can be promised.

    >>> [about_words(s) for s in (4, 27, 59, 75, 200, 30000)]
    ['under 10 s', 'about 20 s', 'about 50 s', 'about 1 min', 'about 3 min', 'about 8 h']
    """
    if seconds < 10:  # noqa: PLR2004  nothing finer can be promised
        return "under 10 s"
    if seconds < _MINUTE:
        return f"about {math.floor(seconds / 10) * 10} s"
    if seconds < _HOUR:
        return f"about {math.floor(seconds / _MINUTE)} min"
    return f"about {math.floor(seconds / _HOUR)} h"


def rate_words(per_second: float | None) -> str:
    """How fast the count moves; nothing where it does not.

    >>> [rate_words(rate) for rate in (2.58, -0.5, 0.02, 0.0, None)]
    ['+2.6 a second', '-30 a minute', '+1.2 a minute', '', '']
    """
    if per_second is None or abs(per_second) * _HOUR < 1:
        return ""
    if abs(per_second) >= 1:
        return f"{per_second:+.1f} a second"
    per_minute = per_second * _MINUTE
    if abs(per_minute) >= 1:
        return f"{per_minute:+.2g} a minute"
    return f"{per_second * _HOUR:+.2g} an hour"


def percent(used: int, total: int) -> str:
    """A share in whole per cent; never 100 before it is.

    >>> percent(83, 97), percent(97, 97), percent(999, 1000)
    ('86 %', '100 %', '99 %')
    """
    share = math.floor(used / max(1, total) * 100 + 0.5)
    return f"{min(share, 99) if used < total else share} %"


def arithmetic(used: int, usable: int, max_connections: int, reserved: int) -> str:
    """The sum spelled out, so that nobody has to guess what the percentage is of.

    >>> arithmetic(83, 97, 100, 3)
    '83 of 97 usable slots, 86 %; max 100, 3 reserved'
    """
    share = percent(used, usable)
    return f"{used} of {usable} usable slots, {share}; max {max_connections}, {reserved} reserved"


def role_words(role: RoleHolder) -> str:
    """Who holds most slots where nobody does under one name.

    >>> role_words(RoleHolder("app", "shop", 70, 68))
    'app on shop holds 70 under 68 names'
    """
    return f"{role.name} holds {role.used} under {role.names} names"


def failure_words(failure: Failure | None) -> str:
    """Why polls fail, and what to do about it; nothing while they succeed."""
    if failure is None:
        return ""
    return f"{failure.message}. {failure.hint}" if failure.hint else failure.message


def reason_words(message: str) -> str:
    """What an error says, without libpq's beginning, which an address makes long.

    >>> reason_words('connection to server at "10.0.0.5", port 5432 failed: Connection refused')
    'Connection refused'
    """
    return _PREAMBLE.sub("", message, count=1)


def pool_arithmetic(use: PoolUse) -> str:
    """A pool's sum spelled out, with who waits for it.

    >>> from exporter.snapshot.pool import Pool
    >>> pool = Pool("shop", "app", cl_waiting=14, maxwait=3, maxwait_us=250000)
    >>> pool_arithmetic(PoolUse(pool, 25, 20, 5))
    'pool shop/app: 25 of 25 server connections, 100 %; size 20, 5 reserve; 14 wait, longest 3.2 s'
    """
    pool = use.pool
    share = percent(use.used, use.limit)
    text = (
        f"pool {pool.database}/{pool.user}: {use.used} of {use.limit} server connections, {share}"
    )
    text += f"; size {use.pool_size}, {use.reserve_pool_size} reserve"
    return "; ".join(part for part in (text, waiting_words(pool)) if part)


def waiting_words(pool: Pool) -> str:
    """How many clients wait for a server connection of the pool, and for how long; "" for none."""
    if not pool.cl_waiting:
        return ""
    return f"{pool.cl_waiting} wait, longest {pool.wait_seconds or 0.0:.1f} s"
