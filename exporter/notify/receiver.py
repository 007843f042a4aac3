"""The contract between the dispatcher and a receiver: send one notification, or say why not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from exporter.alerting.notification import Notification


class Reason(StrEnum):
    """Why an attempt failed: the bounded values of the `reason` label."""

    PAYLOAD = "payload"
    """The receiver refuses this message; a smaller one may pass."""
    AUTH = "auth"
    """The credential is not accepted, or may not do this."""
    GONE = "gone"
    """The webhook, the channel or the account is no longer there."""
    RATE_LIMITED = "rate_limited"
    SERVER = "server"
    """The receiver failed by its own account: 5xx."""
    TIMEOUT = "timeout"
    NETWORK = "network"
    TLS = "tls"
    REDIRECT = "redirect"
    """Never followed: the address or the body is a secret."""
    UNEXPECTED = "unexpected"
    """An answer that the vendor does not document, such as a proxy's page."""
    CONFIG = "config"
    """The address or the key cannot be read or used."""
    EXPIRED = "expired"
    """Undelivered for too long."""
    REMOVED = "removed"
    """The receiver is no longer configured."""


class DeliveryError(Exception):
    """One attempt that failed.

    `message` is for operators and never holds a secret. `retry_after` is in seconds, as the
    receiver asked. `permanent` means that the same message will fail again. `ambiguous` means that
    the receiver may have acted on the message all the same.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        retry_after: float | None = None,
        permanent: bool = False,
        ambiguous: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.permanent = permanent
        self.ambiguous = ambiguous


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a vendor lets one send: `burst` at once, then `per_second`."""

    per_second: float
    burst: int = 1


class Receiver(Protocol):
    """Somewhere that notifications are sent to. `send` is called from one thread at a time."""

    @property
    def name(self) -> str:
        """The receiver's name in the configuration."""

    @property
    def pace(self) -> Pace:
        """The vendor's rate limit, with some distance kept."""

    @property
    def send_resolved(self) -> bool:
        """Whether it is told that an incident has ended."""

    @property
    def tells_missed(self) -> bool:
        """Whether it is told of an incident that began and ended while it could not be reached."""

    def send(self, notification: Notification, *, minimal: bool = False) -> None:
        """Deliver `notification`; `minimal` leaves out all that a receiver could object to.

        Raises:
            DeliveryError: it was not accepted, or nobody knows whether it was.
        """
