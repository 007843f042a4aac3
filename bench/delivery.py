"""`make bench-delivery`: from a decision to the receiver's hands, with the disk in between.

Each notification is committed to a state directory of its own round and posted to a PagerDuty on
loopback; the time is from the decision to its arrival. Exit status 1 when the target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from bench.procfs import cpu_model
from bench.report import PAGE, Figure, markdown, revision, table, write
from exporter.alerting.notification import Notification, Severity, Situation, Transition
from exporter.config.alerting import PagerDutyReceiver
from exporter.demo.receiver import ROUTING_KEY, Receiver
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.receivers import make_receivers
from exporter.notify.store import StateStore

ROUNDS = 20
#: PagerDuty is paced at one a second after a burst; a round stays below the burst.
EACH = 15
TARGET_MS = 100.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and with `--write` put the table on the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args(argv)
    seconds = [each for _ in range(ROUNDS) for each in asyncio.run(_round())]
    p99 = quantiles(seconds, n=100)[-1] * 1000
    figures = [
        Figure.below("decision to receiver, p99", p99, TARGET_MS, "ms"),
        Figure("decision to receiver, median", "", f"{median(seconds) * 1000:.1f} ms"),
    ]
    print(table(figures))
    if options.write:
        about = [
            f"{len(seconds)} notifications",
            cpu_model(),
            f"Python {platform.python_version()}",
        ]
        write(PAGE, markdown(figures, [*about, f"revision {revision()}"]), "bench-delivery")
    return 0 if p99 <= TARGET_MS else 1


async def _round() -> list[float]:
    """What each of `EACH` notifications took, in seconds."""
    with tempfile.TemporaryDirectory() as folder, Receiver() as receiver:
        config = PagerDutyReceiver(
            name="pager", type="pagerduty", routing_key=ROUTING_KEY, url=receiver.pagerduty_url
        )
        store = StateStore(Path(folder))
        outbox = Outbox(store, Dispatcher(make_receivers([config]), store))
        outbox.start()
        decided: dict[str, float] = {}
        for number in range(EACH):
            told = _notification(number)
            decided[told.dedup_key] = time.monotonic()
            await outbox.tell({"incidents/bench": "[]"}, [("pager", told)])
            await asyncio.sleep(0.05)
        outbox.stop(deadline=10.0)
        return [each.at - decided[each.payload["dedup_key"]] for each in receiver.messages]


def _notification(number: int) -> Notification:
    now = time.time()
    return Notification(
        incident=f"bench-{number}",
        server=f"server-{number}",
        family="connections",
        severity=Severity.CRITICAL,
        transition=Transition.OPENED,
        at=now,
        opened_at=now,
        dedup_key=f"bench-{number}",
        headline=f"CRITICAL server-{number}: 83/97 slots",
        labels={"server": f"server-{number}", "severity": "critical"},
        alerts=(),
        situation=Situation(),
    )


if __name__ == "__main__":
    sys.exit(main())
