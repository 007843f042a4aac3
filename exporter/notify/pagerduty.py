"""PagerDuty, through the Events API v2: https://developer.pagerduty.com/docs/events-api-v2/.

The routing key travels in the body. Events of one `dedup_key` are one alert there, so a trigger
sent twice is one page, and a resolve for an alert that is not open does nothing.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from exporter.alerting.notification import Notification, Severity, Transition
from exporter.config.alerting import PagerDutyReceiver
from exporter.notify import words
from exporter.notify.http import Reply, secret
from exporter.notify.posting import Posting
from exporter.notify.receiver import Pace, Reason

#: "The maximum size of a payload is 512 KB"; decimal, as Alertmanager reads it too.
MOST_BYTES = 512_000
_SUMMARY_CHARACTERS = 1024
_FIELD_CHARACTERS = 1000
_ACCEPTED = 202
#: 429 comes without Retry-After; "Rate limits" says to try again 30 s apart.
_RATE_LIMITED_SECONDS = 30.0
_HINTS = {
    Reason.AUTH: "; check routing_key",
    Reason.GONE: "; check url",
    Reason.PAYLOAD: "; check routing_key, or the event is not valid",
    Reason.REDIRECT: "; redirects are not followed, give the final address",
}


class PagerDuty(Posting[PagerDutyReceiver]):
    """One integration of a PagerDuty service."""

    #: Half of the 120 a minute and key that the vendor allows, and a burst for the night when a
    #: whole region goes: 80 in the worst minute.
    pace: ClassVar[Pace] = Pace(per_second=1.0, burst=20)
    #: Nobody is to be woken for what is over.
    tells_missed: ClassVar[bool] = False

    def send(self, notification: Notification, *, minimal: bool = False) -> None:
        """Send one event; a test is triggered and resolved again.

        Raises:
            DeliveryError: it was not accepted, or nobody knows whether it was.
        """
        action = "resolve" if notification.transition is Transition.RESOLVED else "trigger"
        self._send(notification, action, minimal=minimal)
        if notification.transition is Transition.TEST:
            self._send(notification, "resolve", minimal=minimal)

    def _send(self, notification: Notification, action: str, *, minimal: bool) -> None:
        made = event(
            notification,
            secret(self._config.key, "routing_key"),
            action,
            addresses=self._config.client_addresses,
            minimal=minimal,
        )
        check(self._poster.post(self._config.url, encoded(made)))


def event(
    notification: Notification, key: str, action: str, *, addresses: bool, minimal: bool = False
) -> dict[str, Any]:
    """The event as the API takes it; `minimal` has no details and no links."""
    made: dict[str, Any] = {
        "routing_key": key,
        "event_action": action,
        "dedup_key": notification.dedup_key,
        "payload": _payload(notification),
    }
    if minimal:
        return made
    made["payload"]["custom_details"] = details(notification, addresses=addresses)
    made["client"] = words.plain(notification.source, 200) or "pgheadroom"
    if words.is_link(notification.link):
        made["client_url"] = notification.link
    links = [{"href": url, "text": "Runbook"} for url in words.runbooks(notification)]
    if words.is_link(notification.link):
        links.append({"href": notification.link, "text": "pgheadroom"})
    return made | ({"links": links} if links else {})


def _payload(notification: Notification) -> dict[str, Any]:
    test = notification.transition is Transition.TEST
    worst = max(notification.alerts, key=lambda alert: alert.severity.rank, default=None)
    return {
        "summary": words.headline(notification, _SUMMARY_CHARACTERS),
        "source": words.plain(notification.server, 200) or "pgheadroom",
        # Severity's values are PagerDuty's own words; "error" stays unused.
        "severity": (Severity.INFO if test else notification.severity).value,
        "timestamp": words.iso_time(notification.at),
        "component": "postgresql",
        "group": words.plain(notification.family, 200),
        "class": words.plain(worst.alertname, 200) if worst else notification.transition.value,
    }


def details(notification: Notification, *, addresses: bool) -> dict[str, Any]:
    """`custom_details`: flat, in reading order, as the app shows it; empty fields are left out."""
    situation = notification.situation
    idle = situation.idle_transaction
    found: dict[str, Any] = {
        "resolution": words.resolution_lines(notification.resolution)
        if notification.resolution
        else [],
        "arithmetic": situation.arithmetic,
        "rate": situation.rate,
        "time_left": situation.time_left,
        "states": words.states_line(situation),
        "limits": words.limits_line(situation),
        "waiting": situation.waiting,
        "holders": words.holder_lines(situation, words.as_is, addresses=addresses),
        "waiting_applications": words.waiting_lines(situation, words.as_is),
        "growers": words.grower_lines(situation, words.as_is),
        "growers_window": words.growth_window(situation),
        "oldest_idle_transaction": words.idle_line(idle, words.as_is, addresses=addresses)
        if idle
        else "",
        "behind_the_pooler": words.behind_lines(situation, words.as_is, addresses=addresses),
        "blockers": words.blocker_lines(situation, words.as_is, addresses=addresses),
        "data": words.doubts(situation),
        "flapping": words.flapping_lines(notification),
        "next_action": words.actions(notification),
        "alerts": [f"{a.alertname} ({a.severity}): {a.summary}" for a in notification.alerts],
        "description": list(dict.fromkeys(alert.description for alert in notification.alerts)),
        "opened_at": words.iso_time(notification.opened_at),
        "incident": notification.incident,
    }
    return {name: _cleaned(value) for name, value in found.items() if value}


def _cleaned(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, list):
        return [words.plain(line, _FIELD_CHARACTERS) for line in value if line]
    return words.plain(value, _FIELD_CHARACTERS) if isinstance(value, str) else value


def encoded(made: dict[str, Any]) -> bytes:
    """`made` as JSON, its details replaced where it would be larger than PagerDuty takes."""
    body = json.dumps(made).encode()
    if len(body) <= MOST_BYTES:
        return body
    notice = {"omitted": f"the details had {len(body)} bytes, more than PagerDuty accepts"}
    made = {name: value for name, value in made.items() if name != "links"}
    return json.dumps(made | {"payload": made["payload"] | {"custom_details": notice}}).encode()


def check(reply: Reply) -> None:
    """Return if PagerDuty accepted the event: 202 and nothing else.

    Raises:
        DeliveryError: it did not; the answer's text is not repeated, it may hold the key.
    """
    if reply.status == _ACCEPTED:
        return
    reason = reply.reason
    wait = _RATE_LIMITED_SECONDS if reason is Reason.RATE_LIMITED else None
    message = f"PagerDuty answered {reply.status}{_HINTS.get(reason, '')}"
    raise reply.refusal(reason, message, wait)
