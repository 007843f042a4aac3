"""Slack, through an incoming webhook: its address is the credential.

A webhook message cannot be changed or deleted afterwards, so each notification is a message of its
own. Answers are documented in "Sending messages using incoming webhooks" and in the changelog of
2016-05-17: words in the body, of which only some have a documented status. The words decide first.
"""

from __future__ import annotations

import json
from typing import ClassVar

from exporter.alerting.notification import Notification
from exporter.config.alerting import SlackReceiver
from exporter.notify.http import Reply, secret
from exporter.notify.posting import Posting
from exporter.notify.receiver import Pace, Reason
from exporter.notify.slack_message import payload

_ACCEPTED = "ok"
_OK = 200

_WORDS: dict[str, Reason] = {
    "invalid_payload": Reason.PAYLOAD,
    "invalid_blocks": Reason.PAYLOAD,
    "invalid_blocks_format": Reason.PAYLOAD,
    "invalid_attachments": Reason.PAYLOAD,
    "msg_blocks_too_long": Reason.PAYLOAD,
    "msg_too_long": Reason.PAYLOAD,
    "no_text": Reason.PAYLOAD,
    "too_many_attachments": Reason.PAYLOAD,
    "user_not_found": Reason.PAYLOAD,
    "invalid_token": Reason.AUTH,
    "action_prohibited": Reason.AUTH,
    "posting_to_general_channel_denied": Reason.AUTH,
    "channel_not_found": Reason.GONE,
    "channel_is_archived": Reason.GONE,
    "no_active_hooks": Reason.GONE,
    "no_service": Reason.GONE,
    "no_service_id": Reason.GONE,
    "no_team": Reason.GONE,
    "team_disabled": Reason.GONE,
    "rate_limited": Reason.RATE_LIMITED,
    "ratelimited": Reason.RATE_LIMITED,
    "rollup_error": Reason.SERVER,
}
_HINTS = {
    Reason.AUTH: "; the webhook may not post to its channel",
    Reason.GONE: "; the webhook or its channel was removed, make a new webhook",
    Reason.REDIRECT: "; redirects are not followed, give the final address",
}


class Slack(Posting[SlackReceiver]):
    """One incoming webhook."""

    #: One message a second and channel ("Rate limits"), with some distance kept: networks jitter.
    pace: ClassVar[Pace] = Pace(per_second=0.95)
    #: A channel is a record: what came and went unseen belongs in it.
    tells_missed: ClassVar[bool] = True

    def send(self, notification: Notification, *, minimal: bool = False) -> None:
        """Post one message; accepted is status 200 with the body `ok` and nothing else.

        Raises:
            DeliveryError: it was not accepted, or nobody knows whether it was.
        """
        message = payload(notification, addresses=self._config.client_addresses, minimal=minimal)
        address = secret(self._config.address, "webhook_url")
        check(self._poster.post(address, json.dumps(message).encode()))


def check(reply: Reply) -> None:
    """Return if Slack accepted the message.

    Raises:
        DeliveryError: it did not; only words that Slack documents are repeated.
    """
    if reply.status == _OK and reply.body == _ACCEPTED and reply.whole:
        return
    word = reply.body.strip()
    known = _WORDS.get(word)
    reason = known or reply.reason
    said = f" ({word})" if known else ""
    message = f"Slack answered {reply.status}{said}{_HINTS.get(reason, '')}"
    raise reply.refusal(reason, message)
