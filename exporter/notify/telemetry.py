"""What became of a receiver's notifications, counted for the metrics to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from exporter.notify.receiver import DeliveryError, Reason

#: Seconds from the making of a notification to its acceptance: the first four are a good day.
LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Outcome(StrEnum):
    """What can become of a notification: the bounded values of the `outcome` label.

    `failed` counts attempts, `retried` attempts after the first; the others count notifications.
    """

    DELIVERED = "delivered"
    FAILED = "failed"
    RETRIED = "retried"
    DEAD = "dead"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class ReceiverTelemetry:
    """One receiver at one instant. Counts are since the process started; every value is present.

    `latency_buckets` is cumulative, by upper bound in seconds; above the last is only in
    `latency_count`. `failing` is whether the last attempt failed; `last_error` holds no secret.
    """

    receiver: str
    outcomes: Mapping[Outcome, int]
    failures: Mapping[Reason, int]
    pending: int
    oldest_age_seconds: float
    oldest_critical_seconds: float
    failing: bool
    last_error: str
    latency_sum: float
    latency_count: int
    latency_buckets: Mapping[float, int]


class Tally:
    """The running counts of one receiver. Not thread-safe."""

    def __init__(self) -> None:
        self._outcomes: Counter[Outcome] = Counter()
        self._failures: Counter[Reason] = Counter()
        self._latencies: Counter[float] = Counter()
        self._latency_sum = 0.0
        self.last_error = ""
        self.failing = False

    def attempted(self, attempt: int) -> None:
        """Count the start of the `attempt`-th attempt."""
        self._outcomes[Outcome.RETRIED] += attempt > 1

    def delivered(self, seconds: float) -> None:
        """Count an acceptance, `seconds` after the notification was made."""
        self._outcomes[Outcome.DELIVERED] += 1
        self._latency_sum += seconds
        for bound in LATENCY_BUCKETS:
            self._latencies[bound] += seconds <= bound
        self.accepted()

    def accepted(self) -> None:
        """Note that the receiver takes what it is sent."""
        self.failing = False
        self.last_error = ""

    def failed(self, error: DeliveryError) -> None:
        """Count an attempt that failed."""
        self._outcomes[Outcome.FAILED] += 1
        self._failures[error.reason] += 1
        self.failing = True
        self.last_error = error.message

    def dead(self) -> None:
        """Count a notification that is given up."""
        self._outcomes[Outcome.DEAD] += 1

    def superseded(self, count: int) -> None:
        """Count notifications that need not be sent any more."""
        self._outcomes[Outcome.SUPERSEDED] += count

    def telemetry(
        self, receiver: str, pending: int, oldest_age: float, oldest_critical: float
    ) -> ReceiverTelemetry:
        """The counts as they are now."""
        return ReceiverTelemetry(
            receiver=receiver,
            outcomes={outcome: self._outcomes[outcome] for outcome in Outcome},
            failures={reason: self._failures[reason] for reason in Reason},
            pending=pending,
            oldest_age_seconds=oldest_age,
            oldest_critical_seconds=oldest_critical,
            failing=self.failing,
            last_error=self.last_error,
            latency_sum=self._latency_sum,
            latency_count=self._outcomes[Outcome.DELIVERED],
            latency_buckets={bound: self._latencies[bound] for bound in LATENCY_BUCKETS},
        )
