"""Rules, receivers and routes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
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
    read_secret,
    secret_file,
)

PAGERDUTY_ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
"""The vendor's address; EU accounts use events.eu.pagerduty.com (alerting.md 1)."""
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')


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
        text = re.sub(r"\\(.)", r"\1", found[3])
        return {"label": found[1], "operator": found[2], "value": text}

    @model_validator(mode="after")
    def _compiles(self) -> Matcher:
        if self.operator in ("=~", "!~"):
            try:
                re.compile(self.value)
            except re.error as error:
                raise ValueError(f"{self.value!r} is not a regular expression: {error}") from None
        return self

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether `labels` meet the condition; an absent label is the empty string."""
        value = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return bool(re.fullmatch(self.value, value)) == (self.operator == "=~")


_MatcherText = Annotated[
    Matcher, WithJsonSchema({"type": "string", "pattern": f"^{_MATCHER.pattern}$"})
]


class Route(Model):
    """What goes to a receiver: alerts whose labels meet all matchers. All such routes apply."""

    receiver: str
    """The name of a receiver."""
    matchers: tuple[_MatcherText, ...] = ()
    """Each as text, such as `severity="critical"`; none matches everything."""


class _Receiver(Model):
    name: Name
    """What routes, metrics and logs call it."""
    send_resolved: bool = True
    """Whether it is told that an incident has ended."""
    client_addresses: bool = False
    """Whether messages may name client addresses; they leave your network."""
    timeout: Seconds = 5.0
    """For connecting, and again for the answer."""


def _one_of(text: SecretStr | None, file: Path | None, key: str) -> SecretStr:
    if (text is None) == (file is None):
        raise ValueError(f"give either {key} or {key}_file")
    return text if text is not None else read_secret(file)  # type: ignore[arg-type]


class SlackReceiver(_Receiver):
    """A Slack incoming webhook. The address is the credential."""

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
        _check_url(self.address(), "webhook_url")
        return self

    def address(self) -> str:
        """Where messages are posted, read anew from its file."""
        return _one_of(self.webhook_url, self.webhook_url_file, "webhook_url").get_secret_value()


class PagerDutyReceiver(_Receiver):
    """A PagerDuty Events API v2 integration."""

    type: Literal["pagerduty"]
    """The kind of receiver."""
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
        _check_url(self.url, "url")
        return self

    def key(self) -> str:
        """The integration's routing key, read anew from its file."""
        return _one_of(self.routing_key, self.routing_key_file, "routing_key").get_secret_value()


def _check_url(url: str, key: str) -> None:
    """Refuse what no request could be sent to, without repeating it: it may be a secret."""
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise ValueError(f"{key} is not an http:// or https:// address")


Receiver = Annotated[SlackReceiver | PagerDutyReceiver, Field(discriminator="type")]

__all__ = ["Labels", "Matcher", "PagerDutyReceiver", "Receiver", "Route", "Rules", "SlackReceiver"]
