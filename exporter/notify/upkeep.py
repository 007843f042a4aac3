"""Keeps the alerts of a receiver standing that forgets what it is not told again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from exporter.alerting.notification import Notification, Transition
from exporter.notify.clock import Clocks
from exporter.notify.receiver import Reason, Receiver
from exporter.notify.standing import Standing, Standings, standings_from_json

_log = logging.getLogger(__name__)

#: Under which the standing alerts of a receiver are kept.
PREFIX = "standing/"


@runtime_checkable
class Resending(Receiver, Protocol):
    """A receiver that must be sent again and again what is open."""

    @property
    def resend_seconds(self) -> float:
        """How long after one sending the next is due."""

    def resend(self, standing: Sequence[Standing]) -> None:
        """Send all `standing` alerts.

        Raises:
            DeliveryError: they were not accepted, or nobody knows whether they were.
        """


class Upkeep:
    """What stands with one receiver, and when it is to be sent again. Not thread-safe.

    `load` and `save` read and write its kept text; neither blocks.
    """

    def __init__(
        self, load: Callable[[], str | None], save: Callable[[str], None], clocks: Clocks
    ) -> None:
        self._save = save
        self._clocks = clocks
        self._sent_at = float("-inf")
        try:
            self._standings = standings_from_json(load())
        except ValueError as error:
            _log.warning("standing alerts not understood, beginning anew error=%s", error)
            self._standings = Standings()

    def told(self, receiver: Receiver, notification: Notification) -> None:
        """Take up what was delivered."""
        if not isinstance(receiver, Resending):
            return
        if not self._standings:
            self._sent_at = self._clocks.steady()
        if self._standings.told(notification):
            self.hurry()
        self._save(self._standings.to_json())

    def given_up(self, receiver: Receiver, notification: Notification, reason: Reason) -> None:
        """Take up what was refused as well: what stands is sent again, and a refusal may pass.

        Else what has ended would go on standing. Only what opens and is no message for the receiver
        is left: it would be refused each time, with all that stands beside it.
        """
        resolved = notification.transition is Transition.RESOLVED
        if resolved or reason is not Reason.PAYLOAD:
            self.told(receiver, notification)

    def hurry(self) -> None:
        """Send all of it again at once: somebody may lack something."""
        self._sent_at = float("-inf")

    def due_at(self, receiver: Receiver) -> float | None:
        """When to send again, by the steady clock; None while nothing stands."""
        if not isinstance(receiver, Resending) or not self._standings:
            return None
        return self._sent_at + receiver.resend_seconds

    def send(self, receiver: Receiver) -> None:
        """Send what stands again.

        Raises:
            DeliveryError: it was not accepted.
        """
        self._sent_at = self._clocks.steady()
        standing = self._standings.current(self._clocks.wall())
        if not standing:
            self._save(self._standings.to_json())
        elif isinstance(receiver, Resending):
            receiver.resend(standing)
