"""What a series of failures is worth saying: each change of reason, then a count now and then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from exporter.snapshot.server import Failure, Reason

#: A reason that goes on is told again after this long.
REMIND_SECONDS = 300.0
#: So many changes are told within that time; reasons that take turns are no news after these.
MOST_CHANGES = 10


#: What to do where the failure itself does not say it better.
_ADVICE: Mapping[Reason, str] = {
    Reason.REFUSED: "end sessions that nobody needs; pgheadroom's own is kept once it has one",
    Reason.ROLE_LIMIT: "raise the role's CONNECTION LIMIT",
    Reason.DATABASE_LIMIT: "raise the database's CONNECTION LIMIT",
    Reason.UNPRIVILEGED: "grant pg_read_all_stats to the role: pgheadroom grants prints the SQL",
    Reason.LATE: "see whether the server is overloaded or stopped, and what drops packets to it",
    Reason.AUTH: "check the role and its password, and pg_hba.conf",
    Reason.TLS: "check sslmode, sslrootcert and the server's certificate",
    Reason.NETWORK: "check the host and port, and whether the server listens there",
    Reason.STARTING: "wait for it; the server's log says what it is doing",
    Reason.POOLED: "give the address of Postgres itself, not of the pooler",
    Reason.ERROR: "see the server's log at this time",
}


def explained(failure: Failure, tried: str) -> Failure:
    """`failure` with what was tried and, where it says nothing of that, what to do."""
    return replace(
        failure, tried=failure.tried or tried, hint=failure.hint or _ADVICE[failure.reason]
    )


@dataclass(frozen=True, slots=True)
class News:
    """One line for the log.

    `count` failures of this reason were not told one by one; a `reminder` is of a reason that was
    told `seconds` ago.
    """

    failure: Failure
    count: int
    seconds: float = 0.0
    reminder: bool = False


class Failing:
    """The failures of one endpoint. `now` is Unix seconds of the watcher's steady clock."""

    def __init__(self) -> None:
        self.since: float | None = None
        """When the failures began that no success has ended yet."""
        self._reason: Reason | None = None
        self._counts: Counter[Reason] = Counter()
        self._untold: Counter[Reason] = Counter()
        self._told_at: dict[Reason, float] = {}
        self._changes: list[float] = []

    @property
    def counts(self) -> Mapping[Reason, int]:
        """Failures by reason, since the start."""
        return dict(self._counts)

    def failed(self, failure: Failure, now: float) -> News | None:
        """Count a failure; what is to be said of it, None where nothing is."""
        reason = failure.reason
        changed, self._reason = reason is not self._reason, reason
        self.since = now if self.since is None else self.since
        self._counts[reason] += 1
        self._untold[reason] += 1
        if changed and self._may_tell_change(now):
            return self._told(failure, now)
        told_at = self._told_at.setdefault(reason, now)
        if now - told_at >= REMIND_SECONDS:
            return self._told(failure, now, seconds=now - told_at, reminder=True)
        return None

    def succeeded(self, now: float) -> bool:
        """Note a success; whether that is worth saying."""
        ended = self._reason is not None
        self.since = self._reason = None
        return ended and self._may_tell_change(now)

    def _may_tell_change(self, now: float) -> bool:
        self._changes = [at for at in self._changes if now - at < REMIND_SECONDS]
        if len(self._changes) >= MOST_CHANGES:
            return False
        self._changes.append(now)
        return True

    def _told(
        self, failure: Failure, now: float, seconds: float = 0.0, *, reminder: bool = False
    ) -> News:
        self._told_at[failure.reason] = now
        return News(failure, self._untold.pop(failure.reason), seconds, reminder)
