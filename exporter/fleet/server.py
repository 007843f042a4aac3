"""A watched server."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.config.model import Config
from exporter.config.server import Server
from exporter.fleet.member import Member, make_alerter
from exporter.fleet.pooler import PoolerMember
from exporter.poll import Desk, Plan, Scene, Watch
from exporter.sources.credentials import describe
from exporter.sources.postgres import PostgresSource


class ServerMember(Member[Server, PostgresSource]):
    """One server."""

    _kind = "server"

    def __init__(self, config: Config, server: Server, desk: Desk) -> None:
        super().__init__(config, server)
        self._watch = Watch(server.name, self._source, self._plan(config), desk)

    @property
    def watch(self) -> Watch:
        """See `Member`."""
        return self._watch

    @property
    def probed(self) -> bool:
        """See `Member`."""
        return self._entry.probe.enabled

    def scene(self, poolers: Iterable[PoolerMember]) -> Scene:
        """How things stand for those who ask who is really behind a backend."""
        mine = [each for each in poolers if each.server == self._entry.name]
        books = (self.watch.book, *(each.watch.book for each in mine))
        fronts = tuple(each.front() for each in mine)
        addresses = self._entry.client_addresses
        soon = self.watch.idle_limit / 2
        return Scene(self._source, fronts, self.watch.activity, books, addresses, soon)

    def _new_source(self, config: Config) -> PostgresSource:
        return PostgresSource(self._entry, config.polling_of(self._entry))

    def _follow(self, config: Config) -> None:
        self._watch.follow(self._plan(config))

    def _use(self, source: PostgresSource) -> None:
        self._watch.use(source)

    def _plan(self, config: Config) -> Plan:
        server = self._entry
        return Plan(
            config.polling_of(server),
            config.thresholds_of(server),
            config.forecast,
            make_alerter(config, server.labels),
            describe(server.dsn.get_secret_value()),
        )
