"""A watched pooler."""

from __future__ import annotations

from exporter.config.model import Config
from exporter.config.pooler import Pooler
from exporter.fleet.member import Member, make_alerter
from exporter.poll import Desk, Front, PoolerPlan, PoolerWatch
from exporter.sources.credentials import addresses, describe
from exporter.sources.pgbouncer import PgbouncerSource


class PoolerMember(Member[Pooler, PgbouncerSource]):
    """One pooler."""

    _kind = "pooler"

    def __init__(self, config: Config, pooler: Pooler, desk: Desk) -> None:
        super().__init__(config, pooler)
        self._watch = PoolerWatch(pooler.name, self._source, self._plan(config), desk)

    @property
    def watch(self) -> PoolerWatch:
        """See `Member`."""
        return self._watch

    @property
    def probed(self) -> bool:
        """See `Member`."""
        probe = self._entry.probe
        return probe.enabled and probe.credentials is not None

    @property
    def server(self) -> str | None:
        """The server that it stands in front of."""
        return self._entry.server

    def front(self) -> Front:
        """Where its sockets are read, and where its databases lead."""
        watch = self.watch
        return Front(self._entry.name, self._source, watch.snapshot, watch.addresses)

    def _new_source(self, config: Config) -> PgbouncerSource:
        return PgbouncerSource(self._entry, config.polling_of(self._entry))

    def _follow(self, config: Config) -> None:
        self._watch.follow(self._plan(config))

    def _use(self, source: PgbouncerSource) -> None:
        self._watch.use(source)

    def _plan(self, config: Config) -> PoolerPlan:
        pooler = self._entry
        fronted = (each for each in config.servers if each.name == pooler.server)
        return PoolerPlan(
            config.polling_of(pooler),
            config.pooler_thresholds_of(pooler),
            make_alerter(config, {**pooler.labels, "pooler": pooler.name}),
            pooler.server,
            tuple(where for each in fronted for where in addresses(each.dsn.get_secret_value())),
            pooler.clients,
            describe(pooler.dsn.get_secret_value()),
        )
