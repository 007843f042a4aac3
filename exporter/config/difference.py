"""What a reload changes, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.config.alerting import Receiver
from exporter.config.credentials import Credentials
from exporter.config.model import Config

#: What is bound, opened or part of every dedup key when the process starts.
FIXED = ("listen", "state_dir", "install_id")


@dataclass(frozen=True, slots=True)
class Difference:
    """Servers by name: new ones, those that are gone, and those watched in another way than before.

    A pooler is named `pooler NAME`. `restart` are the keys whose new values wait for a restart.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def difference(old: Config, new: Config) -> Difference:
    """What becomes of the servers of `old` when `new` is put in force."""
    before, after = _endpoints(old), _endpoints(new)
    return Difference(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(
            name for name, endpoint in after.items() if name in before and endpoint != before[name]
        ),
        restart=tuple(key for key in FIXED if getattr(old, key) != getattr(new, key)),
    )


def _endpoints(config: Config) -> dict[str, tuple[object, ...]]:
    """Everything that the watch over each endpoint rests on, but for rules and routes."""
    servers: dict[str, tuple[object, ...]] = {
        each.name: (each, config.polling_of(each), config.thresholds_of(each), config.forecast)
        for each in config.servers
    }
    return servers | {
        f"pooler {each.name}": (each, config.polling_of(each), config.pooler_thresholds_of(each))
        for each in config.poolers
    }


def kept_fixed(old: Config, new: Config) -> Config:
    """`new` as far as it can be put in force without a restart."""
    return new.model_copy(update={key: getattr(old, key) for key in FIXED})


def renamed(old: Iterable[Receiver], new: Iterable[Receiver]) -> dict[str, str]:
    """The receivers of `old` that have another name in `new`, and that name.

    They tell at the same place: whoever is told there must not hear that an incident is over, and
    that it is open, because of a name.
    """
    old, new = list(old), list(new)
    staying = {each.name for each in new}
    leaving = [each for each in old if each.name not in staying]
    known = {each.name for each in old}
    found: dict[str, str] = {}
    # Those that come first, each for one that goes; then those that were there already.
    heirs = sorted(new, key=lambda each: each.name in known)
    for each in leaving:
        same = [heir.name for heir in heirs if _same_place(each, heir)]
        free = [name for name in same if name not in found.values()]
        if same:
            found[each.name] = (free or same)[0]
    return found


def _same_place(one: Receiver, other: Receiver) -> bool:
    """Whether both tell at one place; not where a secret can no longer be read."""
    try:
        return one.type == other.type and not one.places().isdisjoint(other.places())
    except (OSError, ValueError):
        return False


def same_login(old: Credentials, new: Credentials) -> bool:
    """Whether a session that `old` opened is one that `new` would open."""
    return all(getattr(old, key) == getattr(new, key) for key in Credentials.model_fields)
