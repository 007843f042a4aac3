"""A program of one's own, told in the JSON of Alertmanager's webhooks, version 4.

The fields are those of https://prometheus.io/docs/alerting/latest/configuration/#webhook_config:
a group is an incident, and each rule that fires in it is one of its alerts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from exporter.alerting.notification import AlertLine, Notification, Transition
from exporter.config.alerting import WebhookReceiver
from exporter.notify import words
from exporter.notify.alert_json import (
    incident_annotations,
    incident_name,
    rfc3339,
    rule_annotations,
    rule_labels,
)
from exporter.notify.http import Reply, secret
from exporter.notify.posting import Posting
from exporter.notify.receiver import Pace, Reason

_SUCCESS = range(200, 300)
#: What Alertmanager writes for an alert that has not ended.
_NEVER = "0001-01-01T00:00:00Z"
_HINTS = {
    Reason.AUTH: "; check its log-in",
    Reason.GONE: "; check url",
    Reason.REDIRECT: "; redirects are not followed, give the final address",
}


class Webhook(Posting[WebhookReceiver]):
    """One address."""

    #: As with the others: what opens at once is told at once, a storm is spread.
    pace: ClassVar[Pace] = Pace(per_second=10.0, burst=50)
    #: Its program may keep a record; what came and went unseen belongs in it.
    tells_missed: ClassVar[bool] = True

    def send(self, notification: Notification, *, minimal: bool = False) -> None:
        """Post one message; a test is posted as firing, and again as resolved.

        Raises:
            DeliveryError: it was not accepted, or nobody knows whether it was.
        """
        resolved = notification.transition is Transition.RESOLVED
        self._send(notification, resolved=resolved, minimal=minimal)
        if notification.transition is Transition.TEST:
            self._send(notification, resolved=True, minimal=minimal)

    def _send(self, notification: Notification, *, resolved: bool, minimal: bool) -> None:
        made = message(
            notification,
            self.name,
            resolved=resolved,
            addresses=self._config.client_addresses,
            minimal=minimal,
        )
        headers = secret(self._config.login_headers, "password or bearer_token")
        address = secret(self._config.address, "url")
        check(self._poster.post(address, json.dumps(made).encode(), headers))


def message(
    notification: Notification,
    receiver: str,
    *,
    resolved: bool,
    addresses: bool,
    minimal: bool = False,
) -> dict[str, Any]:
    """The message: an incident as a group, its rules as alerts."""
    group = {"server": notification.server, "family": notification.family}
    alerts = [
        _alert(notification, line, resolved=resolved, addresses=addresses, minimal=minimal)
        for line in notification.alerts or (_nameless(notification),)
    ]
    pairs = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(group.items()))
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{pairs}}}",
        "truncatedAlerts": 0,
        "status": "resolved" if resolved else "firing",
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": _common([each["labels"] for each in alerts]),
        "commonAnnotations": _common([each["annotations"] for each in alerts]),
        "externalURL": notification.link if words.is_link(notification.link) else "",
        "alerts": alerts,
    }


def _nameless(notification: Notification) -> AlertLine:
    """The incident itself, where no rule is named any more."""
    name = incident_name(notification.family)
    return AlertLine(name, notification.severity, words.headline(notification, 200), "")


def _alert(
    notification: Notification, line: AlertLine, *, resolved: bool, addresses: bool, minimal: bool
) -> dict[str, Any]:
    labels = rule_labels(notification, line)
    common = incident_annotations(notification, addresses=addresses, minimal=minimal)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": labels,
        "annotations": common if minimal else rule_annotations(notification, line, common),
        "startsAt": rfc3339(notification.opened_at),
        "endsAt": rfc3339(max(notification.at, notification.opened_at)) if resolved else _NEVER,
        "generatorURL": notification.link if words.is_link(notification.link) else "",
        "fingerprint": _fingerprint(labels),
    }


def _fingerprint(labels: dict[str, str]) -> str:
    """Sixteen hexadecimal digits that name a label set, as long as Alertmanager's."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]


def _common(each: Sequence[dict[str, str]]) -> dict[str, str]:
    """The pairs that are in all of `each`."""
    first, *others = each
    return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def check(reply: Reply) -> None:
    """Return if the message was accepted: any status from 200 to 299.

    Raises:
        DeliveryError: it was not; the answer's text is not repeated.
    """
    if reply.status in _SUCCESS:
        return
    reason = reply.reason
    raise reply.refusal(reason, f"the webhook answered {reply.status}{_HINTS.get(reason, '')}")
