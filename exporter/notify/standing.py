"""What a receiver with a memory of minutes must hear again and again; pure: time is an argument.

Alertmanager forgets an alert that is not sent again, and keeps none over its own restart. So each
alert stands here from its first delivery until some minutes after its end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from exporter.alerting.notification import Notification, Transition

#: "Clients are expected to re-send resolved alerts for up to 5 minutes" (Alertmanager's API notes).
ENDED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One alert: the newest notification of one incident key and severity.

    `ended_at` is Unix seconds, None while it is open.
    """

    notification: Notification
    ended_at: float | None = None

    @property
    def key(self) -> str:
        """What tells it from others: a change of severity makes another alert."""
        return f"{self.notification.dedup_key}\n{self.notification.severity.value}"


class Standings:
    """All standing alerts of one receiver. Not thread-safe."""

    def __init__(self, found: Iterable[Standing] = ()) -> None:
        self._standing = {each.key: each for each in found}

    def __bool__(self) -> bool:
        return bool(self._standing)

    def told(self, notification: Notification) -> bool:
        """Take up what was delivered; whether another alert of its incident has ended by it."""
        if notification.transition is Transition.TEST:
            return False
        resolved = notification.transition is Transition.RESOLVED
        new = Standing(notification, notification.at if resolved else None)
        others = [
            each
            for each in self._standing.values()
            if each.notification.dedup_key == notification.dedup_key
            and each.key != new.key
            and each.ended_at is None
        ]
        for each in others:
            self._standing[each.key] = replace(each, ended_at=notification.at)
        self._standing[new.key] = new
        return bool(others)

    def current(self, now: float) -> tuple[Standing, ...]:
        """What is to be sent again at `now`; what ended long ago is forgotten."""
        self._standing = {
            key: each
            for key, each in self._standing.items()
            if each.ended_at is None or now - each.ended_at < ENDED_SECONDS
        }
        return tuple(self._standing.values())

    def to_json(self) -> str:
        """Text from which `standings_from_json` makes equal ones."""
        return json.dumps(
            [[each.notification.to_json(), each.ended_at] for each in self._standing.values()],
            separators=(",", ":"),
        )


def standings_from_json(text: str | None) -> Standings:
    """What `Standings.to_json` wrote; empty where there is no text.

    Raises:
        ValueError: `text` is not of that form.
    """
    try:
        return Standings(
            Standing(Notification.from_json(told), None if ended is None else float(ended))
            for told, ended in json.loads(text or "[]")
        )
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a list of standing alerts: {error!r}") from error
