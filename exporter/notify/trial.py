"""`pgheadroom notify test`: one notification that says that it is a test, to each receiver."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence

from exporter.alerting.incidents import dedup_key
from exporter.alerting.notification import AlertLine, Notification, Severity, Situation, Transition
from exporter.config.alerting import Receiver as ReceiverConfig
from exporter.notify.receiver import DeliveryError
from exporter.notify.receivers import make_receivers

FAMILY = "test"


def try_receivers(
    configs: Sequence[ReceiverConfig], install_id: str
) -> Iterator[tuple[str, str | None]]:
    """Send to each receiver once; yields its name, and why it failed or None."""
    notification = _notification(install_id, time.time())
    for receiver in make_receivers(configs):
        try:
            receiver.send(notification)
        except DeliveryError as error:
            yield receiver.name, error.message
        else:
            yield receiver.name, None


def _notification(install_id: str, now: float) -> Notification:
    server = "pgheadroom"
    line = AlertLine(
        "Test",
        Severity.INFO,
        "This is a test. Nothing is wrong.",
        "Somebody ran pgheadroom notify test; this receiver works.",
        action="Nothing to do.",
    )
    return Notification(
        incident=f"test-{now:.0f}",
        server=server,
        family=FAMILY,
        severity=Severity.INFO,
        transition=Transition.TEST,
        at=now,
        opened_at=now,
        dedup_key=dedup_key(install_id, server, f"{FAMILY}-{now:.0f}"),
        headline=f"TEST from pgheadroom on {platform.node()}: nothing is wrong",
        labels={"server": server, "family": FAMILY, "severity": Severity.INFO.value},
        alerts=(line,),
        situation=Situation(),
        source=f"pgheadroom on {platform.node()}",
    )
