"""A watched PgBouncer, and at what it alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from exporter.config.base import Labels, Model, Name, Ratio, Seconds
from exporter.config.credentials import Credentials
from exporter.config.server import Polling

#: The label `via` of a probe that leads through no pooler.
DIRECT = "direct"


class PoolerThresholds(Model):
    """Numbers that the shipped rules about poolers compare with, as `pgheadroom_threshold`.

    Set one to null to switch its rules off for a pooler.
    """

    pool_clients_waiting: Annotated[float, Field(ge=0)] | None = 20
    """More clients than this waiting for a server connection of one pool."""
    pool_wait_warning: Seconds | None = 1.0
    """A client of a pool has waited for this long."""
    pool_wait_critical: Seconds | None = 5.0
    """A client of a pool has waited for this long; that pages."""
    pool_used: Ratio | None = 0.90
    """Share of a pool's size, its reserve included, that is in use."""
    pooler_clients_warning: Ratio | None = 0.80
    """Share of `max_client_conn`."""
    pooler_clients_critical: Ratio | None = 0.95
    """Share of `max_client_conn` that pages: above it clients are refused."""
    pooler_limits: Ratio | None = 0.90
    """Share of the limit of a database or a user in the pooler, where one is set."""


class PoolerProbe(Model):
    """The connect probe through the pooler: it logs in as an application does and asks `SELECT 1`.

    Without credentials it is off: the console's own lead to no server.
    """

    enabled: bool = True
    """Whether one new client is tried from time to time."""
    credentials: Credentials | None = None
    """Those of an ordinary application role, with a database of the pooler in the dsn."""


class Pooler(Credentials):
    """One PgBouncer process, read at its console."""

    dsn: SecretStr
    """A libpq URI or `key=value` string of the console; its database is `pgbouncer`."""
    name: Name
    """The label `pooler` of every series, and what notifications call it; any but `direct`."""
    server: Name | None = None
    """The watched server that it stands in front of, by name; several may share one."""
    labels: Labels = Field(default_factory=dict)
    """Go with its notifications, and routes match on them."""
    clients: bool = False
    """Whether `SHOW CLIENTS` is read on every poll and exported; else only while clients wait."""
    probe: PoolerProbe = PoolerProbe()
    """The connect probe: what a client of a pool waits for."""
    polling: Polling | None = None
    """Over the file's `polling`; keys left out keep the file's values."""
    thresholds: PoolerThresholds | None = None
    """Over the file's `pooler_thresholds`; keys left out keep the file's values."""

    @field_validator("name")
    @classmethod
    def _is_not_direct(cls, name: str) -> str:
        if name == DIRECT:
            raise ValueError(
                f"{DIRECT!r} is the `via` of probes that go through no pooler, and rules match on"
                " it; choose another name"
            )
        return name
