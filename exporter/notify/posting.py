"""What receivers that post to an address have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from exporter.config.alerting import ReceiverSettings
from exporter.notify.http import Poster

Config = TypeVar("Config", bound=ReceiverSettings)


class Posting(Generic[Config]):
    """The part of a `Receiver` that its configuration answers, and its line to the vendor."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._poster = Poster(config.timeout)

    @property
    def name(self) -> str:
        """The receiver's name in the configuration."""
        return self._config.name

    @property
    def send_resolved(self) -> bool:
        """Whether it is told that an incident has ended."""
        return self._config.send_resolved
