"""Everything known of one server at one instant: what the metrics, the rules and the pages read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.snapshot.activity import Activity, count_by
from exporter.snapshot.attribution import Attributed
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.slots import Limits


class Reason(StrEnum):
    """Why a poll, a login or a probe failed: the bounded values of the `reason` label."""

    REFUSED = "refused"
    """No slot was left: SQLSTATE 53300 for the whole server."""
    ROLE_LIMIT = "role_limit"
    DATABASE_LIMIT = "database_limit"
    UNPRIVILEGED = "unprivileged"
    LATE = "late"
    AUTH = "auth"
    TLS = "tls"
    NETWORK = "network"
    STARTING = "starting"
    """Starting, shutting down or recovering: SQLSTATE 57P03."""
    POOLED = "pooled"
    """The DSN leads through a pooler."""
    ERROR = "error"
    """Anything that the table of messages does not know."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last attempt failed, in words without secrets, and what to do about it."""

    reason: Reason
    message: str
    hint: str = ""
    tried: str = ""
    """What was tried, as role@host:port/database; "" where that is not known."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What changes rarely: read every 60 s and on every new session.

    `role_limits` and `database_limits` hold only the limits that are set (not -1) and hold;
    `rolconnlimit` and `datconnlimit` have every role and database, as the catalog says.
    """

    version: str
    version_num: int
    role: str
    limits: Limits
    role_limits: Mapping[str, int] = field(default_factory=dict)
    database_limits: Mapping[str, int] = field(default_factory=dict)
    track_activities: bool = True
    """False where the server's default hides what its backends do."""
    version_text: str = ""
    """What `version()` says."""
    started_at: float | None = None
    """When the postmaster began, Unix seconds of the server's clock."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """Those of sources/sql/parameters.sql; their names end in `_seconds` or `_bytes`."""
    datconnlimit: Mapping[str, int] = field(default_factory=dict)
    rolconnlimit: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionCounters:
    """Sums of `pg_stat_database` over all databases; None before PostgreSQL 14."""

    sessions: int | None = None
    abandoned: int | None = None
    fatal: int | None = None
    killed: int | None = None
    numbackends: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Backends per (datid, datname)."""
    tup_fetched: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Rows fetched per (datid, datname), since the statistics were reset."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One good poll. `taken_at` is our clock in Unix seconds, `poll_seconds` what it took."""

    taken_at: float
    poll_seconds: float
    activity: Activity
    facts: ServerFacts
    sessions: SessionCounters | None = None
    blockers: tuple[Blocker, ...] = ()
    """Whom others wait for, as of a few seconds ago; empty while nobody waits for a lock."""

    @property
    def used(self) -> int:
        """Slots in use."""
        return self.activity.used

    def role_use(self) -> tuple[LimitUse, ...]:
        """Every role with a CONNECTION LIMIT, and what it uses of it."""
        used = count_by(self.activity.clients, lambda group: group.usename)
        limits = self.facts.role_limits.items()
        return tuple(LimitUse(name, used.get(name, 0), limit) for name, limit in limits)

    def database_use(self) -> tuple[LimitUse, ...]:
        """Every database with a CONNECTION LIMIT, and what is used of it."""
        used = count_by(self.activity.clients, lambda group: group.datname)
        limits = self.facts.database_limits.items()
        return tuple(LimitUse(name, used.get(name, 0), limit) for name, limit in limits)


@dataclass(frozen=True, slots=True)
class LimitUse:
    """Connections of a role or database against its own limit."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a new client saw: `via` is "direct" or a pooler's name, `reason` None on success."""

    via: str
    at: float
    seconds: float
    reason: Reason | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServerState:
    """The last good snapshot, whether it is current, and what was derived from the history.

    `failure` is None while polls succeed. `forecasts` holds seconds until the usable slots run out,
    by window name, for the windows whose gates hold.
    """

    server: str
    snapshot: Snapshot | None = None
    failure: Failure | None = None
    failing_since: float | None = None
    """When polls began to fail, Unix seconds of the watcher's steady clock."""
    failures: Mapping[Reason, int] = field(default_factory=dict)
    growth_per_second: float | None = None
    growth_window_seconds: float = 20.0
    """What the growth is measured over."""
    forecasts: Mapping[str, float] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    attributed: Attributed | None = None
    """Who is really behind backends that a pooler holds, as of the last round that was needed."""
    pool_capacity: int | None = None
    """Connections that all poolers in front of the server may open, None where there is none."""

    @property
    def up(self) -> bool:
        """Whether the last poll saw the server."""
        return self.snapshot is not None and self.failure is None
