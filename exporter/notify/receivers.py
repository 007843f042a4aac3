"""Which receivers there are. A new kind is a file, a line here, and a test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from exporter.config.alerting import (
    AlertmanagerReceiver,
    PagerDutyReceiver,
    SlackReceiver,
    WebhookReceiver,
)
from exporter.config.alerting import Receiver as ReceiverConfig
from exporter.notify.alertmanager import Alertmanager
from exporter.notify.pagerduty import PagerDuty
from exporter.notify.receiver import Receiver
from exporter.notify.slack import Slack
from exporter.notify.webhook import Webhook

#: A kind of configuration, and what is made of it: one type a pair, which the tuple cannot say.
KINDS: tuple[tuple[type[Any], Callable[[Any], Receiver]], ...] = (
    (SlackReceiver, Slack),
    (PagerDutyReceiver, PagerDuty),
    (AlertmanagerReceiver, Alertmanager),
    (WebhookReceiver, Webhook),
)


def make_receiver(config: ReceiverConfig) -> Receiver:
    """The receiver that `config` describes; connects nowhere yet."""
    for kind, make in KINDS:
        if isinstance(config, kind):
            return make(config)
    raise TypeError(f"no receiver is made of {type(config).__name__}")


def make_receivers(configs: Iterable[ReceiverConfig]) -> tuple[Receiver, ...]:
    """The receivers that `configs` describe, in their order."""
    return tuple(make_receiver(config) for config in configs)
