"""Who holds the slots, and who has taken more of them lately."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.snapshot.activity import Activity, BackendGroup, count_by

#: Above half of the slots in use nobody else can have as many.
ROLE_RATIO = 0.5
#: A holder with a quarter of the slots of the role is worth a headline itself: ending it is a help.
HOLDER_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class Holder:
    """Slots held by one (application, role, database), and how many more than before.

    `client_addr` is the busiest address of the holder, `""` where addresses are not collected.
    """

    application_name: str
    usename: str
    datname: str
    used: int
    grown: int = 0
    client_addr: str = ""
    client_addrs: int = 0

    @property
    def name(self) -> str:
        """Short words for a person, e.g. "checkout (app on shop)"."""
        application = self.application_name or "(no application_name)"
        if not self.usename and not self.datname:
            return f"{application} (authenticating)" if not self.application_name else application
        return f"{application} ({self.usename or '?'} on {self.datname or '?'})"


HolderKey = tuple[str, str, str]


def _key(group: BackendGroup) -> HolderKey:
    return group.application_name, group.usename, group.datname


def holdings(activity: Activity) -> dict[HolderKey, int]:
    """Slots per (application_name, usename, datname)."""
    return dict(count_by(activity.clients, _key))


def holders(activity: Activity, before: dict[HolderKey, int] | None = None) -> tuple[Holder, ...]:
    """All holders, largest first; growth is against `before` (`holdings` of an earlier reading)."""
    addresses: dict[HolderKey, Counter[str]] = {}
    for group in activity.clients:
        if group.client_addr:
            addresses.setdefault(_key(group), Counter())[group.client_addr] += group.backends
    found = []
    for key, used in holdings(activity).items():
        seen = addresses.get(key, Counter())
        busiest = seen.most_common(1)[0][0] if seen else ""
        grown = used - before.get(key, 0) if before is not None else 0
        found.append(Holder(*key, used, grown, busiest, len(seen)))
    return tuple(found)


def growers(found: tuple[Holder, ...], most: int = 3) -> tuple[Holder, ...]:
    """The holders that took the most slots since the earlier reading, fastest first.

    One that took less than a tenth of what the fastest took is noise beside it.
    """
    fastest = max((holder.grown for holder in found), default=0)
    grown = [holder for holder in found if holder.grown > 0 and holder.grown * 10 >= fastest]
    return tuple(sorted(grown, key=lambda holder: -holder.grown)[:most])


@dataclass(frozen=True, slots=True)
class RoleHolder:
    """One role on one database that holds `used` slots under so many application names."""

    usename: str
    datname: str
    used: int
    names: int

    @property
    def name(self) -> str:
        """Short words for a person, e.g. "app on shop"."""
        return f"{self.usename} on {self.datname or '?'}"


def top_role(found: Iterable[Holder]) -> RoleHolder | None:
    """The role that holds most slots where no single holder says so, None where one does.

    Functions that each take a name of their own are a holder each, and the largest holder is then
    somebody else. So the role is told that has more than `ROLE_RATIO` of the slots in use, while no
    holder has `HOLDER_RATIO` of what it has.

    >>> cron = Holder("cron", "app", "jobs", 2)
    >>> top_role([cron, *(Holder(f"fn-{i}", "app", "shop", 1) for i in range(70))])
    RoleHolder(usename='app', datname='shop', used=70, names=70)
    """
    known = tuple(found)
    by_role: dict[tuple[str, str], list[int]] = {}
    for holder in known:
        by_role.setdefault((holder.usename, holder.datname), []).append(holder.used)
    role, slots = max(by_role.items(), key=lambda item: sum(item[1]), default=(("", ""), [0]))
    largest = max((holder.used for holder in known), default=0)
    most = sum(slots) > ROLE_RATIO * sum(holder.used for holder in known)
    if not role[0] or not most or largest >= HOLDER_RATIO * sum(slots):
        return None
    return RoleHolder(*role, sum(slots), len(slots))


@dataclass(frozen=True, slots=True)
class IdleTransaction:
    """The transaction whose client has been silent the longest (seconds since `state_change`)."""

    seconds: float
    pid: int | None
    application_name: str
    usename: str
    datname: str
    client_addr: str = ""


def oldest_idle_transaction(activity: Activity) -> IdleTransaction | None:
    """The longest silent open transaction, None where there is none."""
    idle = [
        g for g in activity.clients if g.idle_in_transaction and g.state_age_seconds is not None
    ]
    if not idle:
        return None
    oldest = max(idle, key=lambda group: group.state_age_seconds or 0.0)
    return IdleTransaction(
        oldest.state_age_seconds or 0.0,
        oldest.oldest_pid,
        oldest.application_name,
        oldest.usename,
        oldest.datname,
        oldest.client_addr,
    )
