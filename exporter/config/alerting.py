"""Rules, receivers and routes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from exporter.config.base import (
    Labels,
    Model,
    Name,
    RuleFile,
    Seconds,
    SecondsOrZero,
    SecretFile,
    Timeout,
    secret_file,
)
from exporter.config.http import HttpLogin, check_url, one_of
from exporter.config.pattern import compile_pattern

PAGERDUTY_ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
"""The vendor's address; EU accounts use events.eu.pagerduty.com."""
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')

#: As Alertmanager: any other backslash is itself, so that `db\d+` needs no second one
#: (https://prometheus.io/docs/alerting/latest/configuration/#matcher).
_ESCAPE = re.compile(r'\\(["\\n])')
_ESCAPED = {'"': '"', "\\": "\\", "n": "\n"}


class RuleOverride(Model):
    """What an operator changes of one rule; fields left out stay as the file says."""

    enabled: bool = True
    """False: the rule is not evaluated."""
    for_: Annotated[SecondsOrZero | None, Field(alias="for")] = None
    """How long the expression must hold before the alert fires."""
    keep_firing_for: SecondsOrZero | None = None
    """How long the alert goes on firing after the expression no longer holds."""
    severity: Literal["critical", "warning", "info"] | None = None
    """By default only `critical` goes to PagerDuty."""


class Rules(Model):
    """Which rule files are loaded besides the shipped pack, and what is changed in them."""

    shipped: bool = True
    """Whether the shipped pack is loaded (alerts/README.md)."""
    files: tuple[RuleFile, ...] = ()
    """More rule files; relative to the configuration file."""
    overrides: dict[str, RuleOverride] = Field(default_factory=dict)
    """Changes of single rules, by the rule's name."""

    @model_validator(mode="after")
    def _loadable(self, info: ValidationInfo) -> Rules:
        problems = [] if info.context is None else info.context.rule_problems(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self


class Matcher(Model):
    """One condition on a label, written as Prometheus writes it: `severity="critical"`."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        found = _MATCHER.fullmatch(value)
        if not found:
            raise ValueError(
                f'{value!r} is not a matcher; write severity="critical" or env=~"prod.*"'
            )
        text = _ESCAPE.sub(lambda escape: _ESCAPED[escape[1]], found[3])
        return {"label": found[1], "operator": found[2], "value": text}

    @model_validator(mode="after")
    def _compiles(self) -> Matcher:
        if self.operator in ("=~", "!~"):
            _ = self.fits
        return self

    @cached_property
    def fits(self) -> Callable[[str], bool]:
        """Whether a text is of the pattern that `value` is."""
        return compile_pattern(self.value)

    @property
    def text(self) -> str:
        """The matcher as it is written."""
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.label}{self.operator}"{value}"'

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether `labels` meet the condition; an absent label is the empty string."""
        value = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return self.fits(value) == (self.operator == "=~")


def _as_text(value: object) -> object:
    """Only what is written can be written again: an object's label may be none."""
    if not isinstance(value, str | Matcher):
        raise ValueError('write a matcher as text, such as severity="critical"')  # noqa: TRY004  pydantic collects ValueError
    return value


MatcherText = Annotated[
    Matcher,
    BeforeValidator(_as_text),
    WithJsonSchema({"type": "string", "pattern": f"^{_MATCHER.pattern}$"}),
]


class Route(Model):
    """What goes to a receiver: alerts whose labels meet all matchers. All such routes apply."""

    receiver: str
    """The name of a receiver."""
    matchers: tuple[MatcherText, ...] = ()
    """Each as text, such as `severity="critical"`; none matches everything."""


class Repeat(Model):
    """How often an incident that is still open is told again; null: never."""

    critical: Seconds | None = 1800
    """While its severity is critical."""
    warning: Seconds | None = 14400
    """While it is less."""


class PagerRepeat(Repeat):
    """How often an open incident is triggered again, under its key: nobody is woken by that.

    PagerDuty may be set to resolve what it has not heard of for hours.
    """

    critical: Seconds | None = 7200
    warning: Seconds | None = 7200


class ReceiverSettings(Model):
    """What every kind of receiver has."""

    chat: ClassVar[bool] = False
    """Whether people read along: what flaps is damped, and storms come in digests."""
    name: Name
    """What routes, metrics and logs call it."""
    send_resolved: bool = True
    """Whether it is told that an incident has ended."""
    client_addresses: bool = False
    """Whether messages may name client addresses; they leave your network."""
    timeout: Timeout = 5.0
    """For connecting, and again for the answer."""
    repeat: Repeat = Repeat()
    """How often an incident that is still open is told again."""

    def places(self) -> frozenset[str]:
        """Where it tells: receivers of one kind that share a place are one to who is told.

        Secrets are among them, read anew from their files.

        Raises:
            OSError: a secret's file cannot be read.
            ValueError: it is empty or not text.
        """
        raise NotImplementedError


class SlackReceiver(ReceiverSettings):
    """A Slack incoming webhook. The address is the credential."""

    chat: ClassVar[bool] = True
    type: Literal["slack"]
    """The kind of receiver."""
    webhook_url: SecretStr | None = None
    """The webhook's address, if it is not in a file."""
    webhook_url_file: SecretFile | None = None
    """A file with the address alone, read anew for each attempt."""

    @field_validator("webhook_url_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _has_address(self) -> SlackReceiver:
        check_url(self.address(), "webhook_url")
        return self

    def address(self) -> str:
        """Where messages are posted, read anew from its file."""
        return one_of(self.webhook_url, self.webhook_url_file, "webhook_url").get_secret_value()

    def places(self) -> frozenset[str]:
        """See `ReceiverSettings`."""
        return frozenset({self.address()})


class PagerDutyReceiver(ReceiverSettings):
    """A PagerDuty Events API v2 integration."""

    type: Literal["pagerduty"]
    """The kind of receiver."""
    repeat: PagerRepeat = PagerRepeat()
    routing_key: SecretStr | None = None
    """The integration's key, if it is not in a file."""
    routing_key_file: SecretFile | None = None
    """A file with the key alone, read anew for each attempt."""
    url: str = PAGERDUTY_ENQUEUE
    """For accounts in the EU: https://events.eu.pagerduty.com/v2/enqueue."""

    @field_validator("routing_key_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _has_key(self) -> PagerDutyReceiver:
        self.key()
        check_url(self.url, "url")
        return self

    def key(self) -> str:
        """The integration's routing key, read anew from its file."""
        return one_of(self.routing_key, self.routing_key_file, "routing_key").get_secret_value()

    def places(self) -> frozenset[str]:
        """See `ReceiverSettings`; incidents are known by their key within one integration."""
        return frozenset({f"{self.url} {self.key()}"})


class SteadyRepeat(Repeat):
    """How often an open incident is told again with new numbers."""

    critical: Seconds | None = 300
    warning: Seconds | None = 300


class AlertmanagerReceiver(ReceiverSettings, HttpLogin):
    """Alertmanagers of one cluster, each told by itself; never a load balancer in front of them."""

    type: Literal["alertmanager"]
    """The kind of receiver."""
    repeat: SteadyRepeat = SteadyRepeat()
    urls: Annotated[tuple[str, ...], Field(min_length=1)]
    """The base address of each member, such as `http://alertmanager-0:9093`."""
    resend: Seconds = 30
    """How often open alerts are sent again; they end by themselves after four times that."""

    @field_validator("urls")
    @classmethod
    def _usable(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for index, url in enumerate(urls):
            check_url(url, f"urls[{index}]")
        return urls

    @field_validator("send_resolved")
    @classmethod
    def _always(cls, value: bool) -> bool:  # noqa: FBT001  the library's signature
        if not value:
            raise ValueError("Alertmanager must hear of ends; say it in its own receivers")
        return value

    def places(self) -> frozenset[str]:
        """See `ReceiverSettings`: every member."""
        return frozenset(url.rstrip("/") for url in self.urls)


class WebhookReceiver(ReceiverSettings, HttpLogin):
    """Any program that understands the JSON of Alertmanager's webhooks, version 4."""

    type: Literal["webhook"]
    """The kind of receiver."""
    url: SecretStr | None = None
    """The address, if it is not in a file."""
    url_file: SecretFile | None = None
    """A file with the address alone, read anew for each attempt."""

    @field_validator("url_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _has_address(self) -> WebhookReceiver:
        check_url(self.address(), "url")
        return self

    def address(self) -> str:
        """Where notifications are posted, read anew from its file."""
        return one_of(self.url, self.url_file, "url").get_secret_value()

    def places(self) -> frozenset[str]:
        """See `ReceiverSettings`."""
        return frozenset({self.address()})


Receiver = Annotated[
    SlackReceiver | PagerDutyReceiver | AlertmanagerReceiver | WebhookReceiver,
    Field(discriminator="type"),
]

__all__ = ["Labels", "Matcher", "PagerDutyReceiver", "Receiver", "Route", "Rules", "SlackReceiver"]
