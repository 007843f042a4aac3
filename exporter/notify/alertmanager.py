"""Alertmanager, through `POST /api/v2/alerts`: https://prometheus.io/docs/alerting/latest/clients/.

One alert an incident and severity. It is open until its `endsAt` passes, so it is sent again and
again while it is open, and for some minutes after it ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from exporter.alerting.notification import Notification, Transition
from exporter.config.alerting import AlertmanagerReceiver
from exporter.notify import words
from exporter.notify.alert_json import incident_annotations, incident_labels, rfc3339
from exporter.notify.http import secret
from exporter.notify.members import Members
from exporter.notify.receiver import Pace
from exporter.notify.standing import Standing

#: Prometheus itself keeps an alert open for four times what lies between two sendings.
VALID_RESENDS = 4
#: A member that lacks something is tried again after this part of the time between two sendings.
_BEHIND = 6


class Alertmanager:
    """The Alertmanagers of one cluster."""

    #: Nobody limits it; a burst is one small request each.
    pace: ClassVar[Pace] = Pace(per_second=20.0, burst=100)
    #: What is over before it was told is not an alert.
    tells_missed: ClassVar[bool] = False

    def __init__(
        self, config: AlertmanagerReceiver, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        # Alertmanager compares with its own wall clock: the steady one must not be used here.
        self._clock = clock
        self._members = Members(config.urls, config.timeout)

    @property
    def name(self) -> str:
        """The receiver's name in the configuration."""
        return self._config.name

    @property
    def send_resolved(self) -> bool:
        """Always: whether people hear of the end is said in Alertmanager's own receivers."""
        return True

    @property
    def resend_seconds(self) -> float:
        """When the standing alerts are to be sent again: sooner while a member lacks something."""
        resend = self._config.resend
        return resend / _BEHIND if self._members.behind else resend

    def send(self, notification: Notification, *, minimal: bool = False) -> None:
        """Send one alert to every member; a test begins and ends at once.

        Raises:
            DeliveryError: no member accepted it, or nobody knows whether one did.
        """
        resolved = notification.transition is Transition.RESOLVED
        ended = notification.at if resolved else None
        self._post([Standing(notification, ended)], minimal=minimal)
        if notification.transition is Transition.TEST:
            self._post([Standing(notification, self._clock())], minimal=minimal)

    def resend(self, standing: Sequence[Standing]) -> None:
        """Send all `standing` alerts to every member.

        Raises:
            DeliveryError: no member accepted them, or nobody knows whether one did.
        """
        self._post(standing)

    def _post(self, standing: Sequence[Standing], *, minimal: bool = False) -> None:
        headers = secret(self._config.login_headers, "password or bearer_token")
        body = json.dumps([self._alert(each, minimal=minimal) for each in standing]).encode()
        self._members.post(body, headers)

    def _alert(self, standing: Standing, *, minimal: bool) -> dict[str, Any]:
        return alert(
            standing,
            self._clock(),
            valid=VALID_RESENDS * self._config.resend,
            addresses=self._config.client_addresses,
            minimal=minimal,
        )


def alert(
    standing: Standing, now: float, *, valid: float, addresses: bool, minimal: bool = False
) -> dict[str, Any]:
    """The alert as the API takes it; `valid` is for how many seconds from `now` it stays open.

    A start after the end is refused, which a clock that was stepped would bring about.
    """
    told = standing.notification
    ends_at = now + valid if standing.ended_at is None else min(standing.ended_at, now)
    made: dict[str, Any] = {
        "labels": incident_labels(told),
        "annotations": incident_annotations(told, addresses=addresses, minimal=minimal),
        "startsAt": rfc3339(min(told.opened_at, now, ends_at)),
        "endsAt": rfc3339(ends_at),
    }
    return made | ({"generatorURL": told.link} if words.is_link(told.link) else {})
