"""What a watched server and a watched pooler have in common."""

from __future__ import annotations

import logging
import platform
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from exporter import __version__
from exporter.alerting.alerter import Alerter
from exporter.alerting.message import Sender
from exporter.alerting.muting import Muting
from exporter.alerting.routing import Routing, manners_of
from exporter.config.difference import same_login
from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.config.server import Polling, Server
from exporter.poll import Turns
from exporter.sources.credentials import tls_warning

log = logging.getLogger(__name__)


class Source(Protocol):
    """Where a member's polls go: a session that outlives them."""

    async def adopt(self, entry: Any, polling: Polling, /) -> None:  # noqa: ANN401  a Server or a Pooler
        """Go on with what has changed, on the same session."""

    async def close(self) -> None:
        """End the session."""


EntryT = TypeVar("EntryT", Server, Pooler)
SourceT = TypeVar("SourceT", bound=Source)


class Member(ABC, Generic[EntryT, SourceT]):
    """One server or pooler of the fleet: its entry in the configuration, its source, its turns."""

    _kind: ClassVar[str]
    """What a line in the log calls it."""

    def __init__(self, config: Config, entry: EntryT) -> None:
        self._entry: EntryT = entry
        self._source = self._checked_source(config)

    @property
    @abstractmethod
    def watch(self) -> Turns[Any]:
        """Its turns."""

    @property
    @abstractmethod
    def probed(self) -> bool:
        """Whether a new client tries from time to time."""

    async def change(self, config: Config, entry: EntryT) -> Iterable[Awaitable[None]]:
        """Go on with `entry`; what is to be closed."""
        before, self._entry = self._entry, entry
        self._follow(config)
        if same_login(before, entry):
            await self._source.adopt(entry, config.polling_of(entry))
            return ()
        old, self._source = self._source, self._checked_source(config)
        self._use(self._source)
        return (old.close(),)

    async def close(self) -> None:
        """End its session."""
        await self._source.close()

    @abstractmethod
    def _new_source(self, config: Config) -> SourceT:
        """A source for the entry as it is now."""

    @abstractmethod
    def _follow(self, config: Config) -> None:
        """Have the watch go on as `config` says."""

    @abstractmethod
    def _use(self, source: SourceT) -> None:
        """Have the watch poll `source` from now on."""

    def _checked_source(self, config: Config) -> SourceT:
        warning = tls_warning(self._entry.dsn.get_secret_value())
        if warning:
            log.warning("weak TLS", extra={self._kind: self._entry.name, "detail": warning})
        return self._new_source(config)


def make_alerter(config: Config, labels: Mapping[str, str]) -> Alerter:
    """Who decides for an endpoint that the configuration gives `labels`."""
    source = f"pgheadroom {__version__} on {platform.node()}"
    sender = Sender(config.install_id, source, config.external_url, dict(labels))
    routing = Routing(config.effective_routes, dict(labels), manners_of(config.receivers))
    return Alerter(routing, sender, Muting(config.mutes, config.inhibit))
