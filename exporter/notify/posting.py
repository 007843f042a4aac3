"""What receivers that post to an address have in common."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from exporter.notify.http import Poster


class Settings(Protocol):
    """What the configuration says of every receiver."""

    @property
    def name(self) -> str:
        """What routes, metrics and logs call it."""

    @property
    def send_resolved(self) -> bool:
        """Whether it is told that an incident has ended."""

    @property
    def timeout(self) -> float:
        """Seconds for connecting, and again for the answer."""


Config = TypeVar("Config", bound=Settings)


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
