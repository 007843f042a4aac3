"""What is told to a receiver: a frozen value that survives the outbox as JSON.

Receivers turn it into their vendor's format; nothing in it is escaped yet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from exporter.snapshot.attribution import Attribution
from exporter.snapshot.blockers import Blocker
from exporter.snapshot.holders import Holder, IdleTransaction, RoleHolder


class Severity(StrEnum):
    """How urgent an alert is; compare with `rank`."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 2 for critical."""
        return list(Severity).index(self)


class Transition(StrEnum):
    """What happened to an incident, seen from one receiver."""

    OPENED = "opened"
    ESCALATED = "escalated"
    DEESCALATED = "deescalated"
    REPEATED = "repeated"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert of the incident, with its expanded annotations."""

    alertname: str
    severity: Severity
    summary: str
    description: str
    runbook_url: str = ""
    action: str = ""
    """The one thing to do next."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the server looked like, in words and numbers, when the notification was made.

    Empty texts and tuples are left out of messages. `arithmetic` reads like
    "83 of 97 usable slots, 86 %; max 100, 3 reserved".
    """

    used: int | None = None
    usable: int | None = None
    arithmetic: str = ""
    rate: str = ""
    time_left: str = ""
    states: Mapping[str, int] = field(default_factory=dict)
    holders: tuple[Holder, ...] = ()
    top_role: RoleHolder | None = None
    """The role that holds most slots, under names of which none holds many."""
    growers: tuple[Holder, ...] = ()
    growth_window_seconds: float = 0.0
    idle_transaction: IdleTransaction | None = None
    limits: tuple[str, ...] = ()
    """Limits of roles and databases that are nearly used up, e.g. "role app: 46 of 50, 92 %"."""
    blockers: tuple[Blocker, ...] = ()
    """Whom others wait for: the heads of the queues, the longest queue first."""
    waiting: int = 0
    behind: tuple[Attribution, ...] = ()
    """Who is really behind backends that a pooler holds in a transaction, the oldest first."""
    data_age_seconds: float | None = None
    """How old the numbers are, None where there are none: the server was never seen."""
    applications_waiting: tuple[Holder, ...] = ()
    """Who waits for a server connection of a pool; `used` is how many clients."""
    failure: str = ""
    """Why polls fail, where they do: the other fields are then that old."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an incident came to, known when it is resolved.

    `duration_seconds` is until its last condition ceased. The peak and the least headroom are of
    the moment with the largest share of the usable slots.
    """

    duration_seconds: float
    peak_used: int | None
    peak_usable: int | None
    least_free: int | None
    refused: bool
    """Whether clients were seen to be refused."""


@dataclass(frozen=True, slots=True)
class Group:
    """Servers to which the same happened, where one message tells of several incidents."""

    title: str
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about one incident.

    `headline` stands alone on a telephone: 80 characters, most important first. `dedup_key` is the
    same for every notification of an incident, and for the next incident of the same server and
    family. `labels` are what routes matched.
    """

    incident: str
    server: str
    family: str
    severity: Severity
    transition: Transition
    at: float
    opened_at: float
    dedup_key: str
    headline: str
    labels: Mapping[str, str]
    alerts: tuple[AlertLine, ...]
    situation: Situation
    resolution: Resolution | None = None
    source: str = ""
    """Which pgheadroom says so: host name and version."""
    link: str = ""
    flapping: bool = False
    """Whether the incident comes and goes; its end will be told late."""
    digest: bool = False
    """Whether a chat may tell of it together with others: too much happens at once."""
    groups: tuple[Group, ...] = ()
    """What is told instead of alerts and a situation where this is such a message."""

    def to_json(self) -> str:
        """Text from which `from_json` makes an equal notification."""
        return json.dumps(asdict(self), ensure_ascii=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Notification:
        """The notification that `to_json` wrote.

        Raises:
            ValueError: `text` is not one.
        """
        try:
            return _notification(json.loads(text))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a notification: {error!r}") from error


def _notification(raw: dict[str, Any]) -> Notification:
    situation = dict(raw["situation"])
    idle, role = situation["idle_transaction"], situation.get("top_role")
    situation |= {
        "holders": tuple(Holder(**each) for each in situation["holders"]),
        "top_role": None if role is None else RoleHolder(**role),
        "growers": tuple(Holder(**each) for each in situation["growers"]),
        "applications_waiting": tuple(
            Holder(**each) for each in situation.get("applications_waiting", ())
        ),
        "limits": tuple(situation.get("limits", ())),
        "blockers": tuple(Blocker(**each) for each in situation.get("blockers", ())),
        "behind": tuple(Attribution(**each) for each in situation.get("behind", ())),
        "idle_transaction": None if idle is None else IdleTransaction(**idle),
    }
    resolution = raw["resolution"]
    parts: dict[str, Any] = {
        "severity": Severity(raw["severity"]),
        "transition": Transition(raw["transition"]),
        "alerts": tuple(
            AlertLine(**(each | {"severity": Severity(each["severity"])})) for each in raw["alerts"]
        ),
        "situation": Situation(**situation),
        "resolution": None if resolution is None else Resolution(**resolution),
        "groups": tuple(
            Group(each["title"], tuple(each["servers"])) for each in raw.get("groups", ())
        ),
    }
    return Notification(**(raw | parts))
