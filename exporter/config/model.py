"""The whole configuration, as one frozen value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from exporter.config.alerting import PagerDutyReceiver, Receiver, Route, Rules
from exporter.config.base import Model, Name, Seconds, SecretFile, possible
from exporter.config.errors import ConfigError
from exporter.config.heartbeat import Heartbeat
from exporter.config.muting import DEFAULT_INHIBITIONS, Inhibition, Mute
from exporter.config.pooler import Pooler, PoolerThresholds
from exporter.config.server import Forecast, Polling, Server, Thresholds
from exporter.config.web import load_web

DEFAULT_LISTEN = "127.0.0.1:9970"
_LISTEN = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s\x00-\x1f:]*):(\d{1,5})")
Part = TypeVar("Part", bound=Model)


class Log(Model):
    """How events are written to standard error."""

    format: Literal["text", "json"] = "text"
    """One line an event, or one JSON object a line."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less than this is not written."""


class Metrics(Model):
    """What `/metrics` has besides pgheadroom's own series."""

    compatibility: bool = True
    """Whether the series of postgres_exporter are there too (docs/migrating.md)."""


class WebFile(Model):
    """Where TLS and log-in are set."""

    config_file: SecretFile | None = None
    """A Prometheus `web.config.yml` (docs/web.md); relative to the configuration file."""

    @field_validator("config_file")
    @classmethod
    def _usable(cls, path: Path | None) -> Path | None:
        try:
            load_web(path)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file, and the certificate it names: what is looked at for changes."""
        if self.config_file is None:
            return ()
        try:
            tls = load_web(self.config_file).tls_server_config
        except ConfigError:
            tls = None
        return (self.config_file,) if tls is None else (self.config_file, *tls.files)


class Config(Model):
    """pgheadroom's configuration file."""

    install_id: Annotated[str, Field(min_length=1, max_length=120)] = "pgheadroom"
    """Names this installation in dedup keys, so that a lost disk still resolves what it opened."""
    listen: str = DEFAULT_LISTEN
    """HOST:PORT of the page and `/metrics`; `:9970` is every interface."""
    state_dir: Annotated[Path, AfterValidator(possible)] = Path("pgheadroom-state")
    """Alerts, incidents and undelivered notifications; relative to the working directory."""
    external_url: str = ""
    """Where people reach this pgheadroom's page; notifications link to it."""
    log: Log = Log()
    """Events, on standard error."""
    metrics: Metrics = Metrics()
    """For Prometheus."""
    web: WebFile = WebFile()
    """TLS and log-in of the pages and `/metrics`."""
    include: tuple[str, ...] = ()
    """Files whose `servers`, `poolers`, `receivers` and `routes` are appended, such as \
    `servers.d/*.yaml`; relative to the configuration file."""
    watch: bool = True
    """Whether these files are read anew when they change; SIGHUP always does that."""
    servers: tuple[Server, ...]
    """The Postgres servers that are watched; at least one."""
    poolers: tuple[Pooler, ...] = ()
    """The PgBouncers that are watched (docs/pgbouncer.md)."""
    polling: Polling = Polling()
    """For every server and pooler; each may have its own."""
    thresholds: Thresholds = Thresholds()
    """For every server; a server may have its own."""
    pooler_thresholds: PoolerThresholds = PoolerThresholds()
    """For every pooler; a pooler may have its own."""
    forecast: Forecast = Forecast()
    """When the slots will run out."""
    rules: Rules = Rules()
    """The alerting rules, in Prometheus' format."""
    receivers: tuple[Annotated[Receiver, Field(discriminator="type")], ...] = ()
    """Where notifications go."""
    routes: tuple[Route, ...] = ()
    """Empty: critical goes to PagerDuty and everything to the others."""
    heartbeat: Heartbeat | None = None
    """An address that is asked for while pgheadroom works: a dead man's switch."""
    cold_start_resolve: Seconds | None = 300
    """After a start without state: how long a server must have been well before PagerDuty is told \
    that whatever an earlier process left open has ended; null: it is not told."""
    mutes: tuple[Mute, ...] = ()
    """Silences that come back at the same hours (docs/silences.md)."""
    inhibit: tuple[Inhibition, ...] = DEFAULT_INHIBITIONS
    """Which alerts are not told while another one fires (docs/silences.md)."""

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        listen_address(value)
        return value

    @field_validator("servers", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        if not value:
            raise ValueError("name at least one server, with its dsn")
        return value

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Config:
        known = {receiver.name for receiver in self.receivers}
        for index, route in enumerate(self.routes):
            if route.receiver not in known:
                raise ValueError(
                    f"routes[{index}].receiver: no receiver is named {route.receiver!r};"
                    f" there are: {', '.join(sorted(known)) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _poolers_stand_somewhere(self) -> Config:
        known = {server.name for server in self.servers}
        problems = []
        for index, pooler in enumerate(self.poolers):
            if pooler.server is not None and pooler.server not in known:
                problems.append(
                    f"poolers[{index}].server: no server is named {pooler.server!r};"
                    f" there are: {', '.join(sorted(known))}"
                )
            if pooler.server is None and pooler.name in known:
                problems.append(
                    f"poolers[{index}].name: {pooler.name!r} is the name of a server; choose"
                    f" another, or say server: {pooler.name} if it stands in front of it"
                )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def effective_routes(self) -> tuple[Route, ...]:
        """The configured routes, or the default ones."""
        if self.routes:
            return self.routes
        page = {"matchers": ('severity="critical"',)}
        return tuple(
            Route.model_validate(
                {"receiver": each.name} | (page if isinstance(each, PagerDutyReceiver) else {})
            )
            for each in self.receivers
        )

    def polling_of(self, endpoint: Server | Pooler) -> Polling:
        """A server's or pooler's polling: its own keys over the file's."""
        return _overlaid(self.polling, endpoint.polling)

    def thresholds_of(self, server: Server) -> dict[str, float]:
        """`server`'s thresholds by name; those set to null are left out."""
        return _set(_overlaid(self.thresholds, server.thresholds))

    def pooler_thresholds_of(self, pooler: Pooler) -> dict[str, float]:
        """`pooler`'s thresholds by name; those set to null are left out."""
        return _set(_overlaid(self.pooler_thresholds, pooler.thresholds))


def _set(thresholds: Model) -> dict[str, float]:
    values = thresholds.model_dump().items()
    return {name: float(value) for name, value in values if value is not None}


def _overlaid(base: Part, own: Part | None) -> Part:
    if own is None:
        return base
    return base.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def listen_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; an empty host is every interface.

    >>> listen_address("127.0.0.1:9970")
    ('127.0.0.1', 9970)
    >>> listen_address("[::1]:0")
    ('::1', 0)
    """
    found = _LISTEN.fullmatch(text)
    if not found or int(found[2]) > 65535 or not _is_host(found[1]):  # noqa: PLR2004  the largest TCP port
        raise ValueError(f"{text!r} is not an address; write HOST:PORT, e.g. {DEFAULT_LISTEN}")
    return found[1].strip("[]") or "0.0.0.0", int(found[2])  # noqa: S104  asked for by ":9970"


def _is_host(text: str) -> bool:
    """Whether a resolver can be asked for it: `a..b` cannot, nor can a part of 64 characters."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return True


__all__ = ["Config", "Name", "listen_address"]
