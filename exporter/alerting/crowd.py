"""Whether too much happens at once for a message each: a network is gone, not a database; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from exporter.alerting.notification import Notification

#: So many incidents are told one by one; what comes within the window besides goes in digests.
CROWD = 3
WINDOW_SECONDS = 10.0


class Crowd:
    """The incidents of the whole process that were told of lately. Not thread-safe."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def marked(
        self,
        notifications: Iterable[tuple[str, Notification]],
        chats: Collection[str],
        now: float,
    ) -> tuple[tuple[str, Notification], ...]:
        """`notifications` of one decision, those for `chats` marked if they belong into a digest.

        `now` is in seconds of the steady clock. Pagers are told one by one whatever happens.
        """
        notifications = tuple(notifications)
        incidents = {told.incident for receiver, told in notifications if receiver in chats}
        crowded = {incident for incident in sorted(incidents) if self._crowded(incident, now)}
        return tuple(
            (receiver, replace(told, digest=receiver in chats and told.incident in crowded))
            for receiver, told in notifications
        )

    def _crowded(self, incident: str, now: float) -> bool:
        recent = {
            each: at
            for each, at in self._told_at.items()
            if now - at < WINDOW_SECONDS and each != incident
        }
        self._told_at = recent | {incident: now}
        return len(recent) >= CROWD
