"""A watched server, how it is polled, and at what it alerts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from exporter.config.base import Labels, Model, Name, Ratio, Seconds, SecondsOrZero, Timeout
from exporter.config.credentials import Credentials

#: A line through fewer readings than half of these is not drawn (snapshot/forecast.py).
LEAST_STEPS = 8


class Polling(Model):
    """How often a server is read, and how long an answer may take."""

    interval: Seconds = 2.0
    """From one poll of a server to the next."""
    busy_interval: Seconds = 1.0
    """While more than `busy_above` of the usable slots are used, or the count climbs."""
    busy_above: Ratio = 0.40
    """Share of the usable slots above which the busy interval applies."""
    deadline: Timeout = 2.0
    """A poll that takes longer is late; the session is kept."""
    connect_deadline: Timeout = 5.0
    """A login, pgheadroom's own or the probe's, is given up after this."""
    counters_interval: Seconds = 10.0
    """How often `pg_stat_database` is read."""
    facts_interval: Seconds = 60.0
    """How often settings, names and connection limits are read."""
    probe_interval: Seconds = 30.0
    """From one connect probe to the next."""
    probe_busy_interval: Seconds = 5.0
    """The connect probe's interval above 70 % of the usable slots, and after one that failed."""


Provider = Literal["rds", "aurora", "azure", "cloudsql", "neon", "supabase"]
#: Providers whose documentation gives no number of reserved slots.
UNDOCUMENTED = ("cloudsql", "supabase")
Hits = Annotated[int, Field(ge=1, le=100)]


class Window(Model):
    """One forecast: least squares over `window`, exported while exhaustion is within `horizon`."""

    window: Seconds
    """The line is fitted through the counts of this long."""
    horizon: Seconds
    """The forecast is exported only if the slots would run out within this."""
    hits: Hits
    """Consecutive readings whose gates hold before the forecast is exported."""
    step: SecondsOrZero = 0.0
    """A reading is every poll (0), or the lowest count of each step: what a spike cannot lift."""
    lookback: Seconds = 600.0
    """How long before the window the count must have been lower."""

    @model_validator(mode="after")
    def _steps_fit(self) -> Window:
        if self.step * LEAST_STEPS > self.window:
            raise ValueError(
                f"step: a window of {self.window:g} s has no room for {LEAST_STEPS} steps of"
                f" {self.step:g} s; make the window longer or the step shorter"
            )
        return self


class PageWindow(Window):
    """For the critical alert: tens of seconds ahead."""

    window: Seconds = 20.0
    horizon: Seconds = 60.0
    hits: Hits = 3


class WarningWindow(Window):
    """For the warning: slower ramps, minutes ahead."""

    window: Seconds = 60.0
    horizon: Seconds = 300.0
    hits: Hits = 3


class LeakWindow(Window):
    """For connections that are never given back: hours ahead."""

    window: Seconds = 3600.0
    horizon: Seconds = 14400.0
    hits: Hits = 5
    step: SecondsOrZero = 60.0
    lookback: Seconds = 86400.0


class Forecast(Model):
    """The three windows and the gates that they share (docs/forecast.md).

    Set a window to null to switch its forecast off.
    """

    page: PageWindow | None = PageWindow()
    """Feeds the critical alert."""
    warning: WarningWindow | None = WarningWindow()
    """Feeds the warning."""
    leak: LeakWindow | None = LeakWindow()
    """Feeds the warning of a leak."""
    min_r_squared: Ratio = 0.80
    """How well the line must fit."""
    min_used_ratio: Ratio = 0.40
    """Share of the usable slots below which nothing is forecast."""
    breakout_slots: Annotated[int, Field(ge=1)] = 10
    """The count must be this much above all that the lookback has seen."""
    breakout_ratio: Ratio = 0.15
    """The same as a share of the usable slots; the larger of the two applies."""


class Thresholds(Model):
    """Numbers that the shipped rules compare with, exported as `pgheadroom_threshold`.

    Set one to null to switch its rules off for a server.
    """

    connections_warning: Ratio | None = 0.70
    """Share of the usable slots."""
    connections_critical: Ratio | None = 0.85
    """Share of the usable slots that pages."""
    idle_in_transaction: Annotated[float, Field(ge=0)] | None = 10
    """More sessions than this with an open transaction and a silent client."""
    idle_in_transaction_seconds: Seconds | None = 300.0
    """A client silent for longer than this in an open transaction."""
    backends_waiting: Annotated[float, Field(ge=0)] | None = 20
    """More active backends than this held up by locks or I/O."""
    role_connections: Ratio | None = 0.90
    """Share of a role's CONNECTION LIMIT."""
    database_connections: Ratio | None = 0.90
    """Share of a database's CONNECTION LIMIT."""
    pool_capacity: Annotated[float, Field(gt=0)] | None = 1.0
    """Connections that the poolers may open, over the usable slots."""
    stale_connections: Annotated[float, Field(ge=0)] | None = 20
    """More connections than this idle for longer than `stale_after`."""


class Probe(Model):
    """The connect probe. Without credentials of its own it uses the server's."""

    enabled: bool = True
    """Whether one new connection is tried from time to time."""
    credentials: Credentials | None = None
    """Best those of an ordinary application role: they see what applications see."""


class Server(Credentials):
    """One Postgres server."""

    name: Name
    """The label `server` of every series, and what notifications call it."""
    labels: Labels = Field(default_factory=dict)
    """Go with its notifications, and routes match on them."""
    provider: Provider | None = None
    """The managed service that runs it, for the slots that it holds back (docs/providers.md)."""
    provider_reserved: Annotated[int, Field(ge=0)] | None = None
    """Slots that the provider holds back beyond what the settings show, instead of what is known
    of `provider`; required where that is nothing: cloudsql and supabase."""
    client_addresses: bool = True
    """Whether client addresses are read and exported; they never go into a notification unasked."""
    stale_after: Seconds = 600.0
    """Idle for longer than this counts as stale: a frozen function container."""
    probe: Probe = Probe()
    """The connect probe: what a new client would see."""
    polling: Polling | None = None
    """Over the file's `polling`; keys left out keep the file's values."""
    thresholds: Thresholds | None = None
    """Over the file's `thresholds`; keys left out keep the file's values."""

    @model_validator(mode="after")
    def _reserve_is_known(self) -> Server:
        if self.provider in UNDOCUMENTED and self.provider_reserved is None:
            raise ValueError(
                f"provider {self.provider} documents no reserve; set provider_reserved to the slots"
                " that it holds back beyond the settings, 0 if none (docs/providers.md)"
            )
        return self
