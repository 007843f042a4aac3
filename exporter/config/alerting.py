"""Rules, receivers and routes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

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
    for_: Annotated[SecondsOrZero | None, Field(alias="for")] = None
    keep_firing_for: SecondsOrZero | None = None
    severity: Literal["critical", "warning", "info"] | None = None


class Rules(Model):
    """Which rule files are loaded besides the shipped pack, and what is changed in them."""

    shipped: bool = True
    files: tuple[RuleFile, ...] = ()
    overrides: dict[str, RuleOverride] = Field(default_factory=dict)

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


class Route(Model):
    """What goes to a receiver: alerts whose labels meet all matchers. All such routes apply."""

    receiver: str
    matchers: tuple[Matcher, ...] = ()


class _Receiver(Model):
    name: Name
    send_resolved: bool = True
    client_addresses: bool = False
    """Whether messages may name client addresses; they leave your network."""
    timeout: Seconds = 5.0


def _one_of(text: SecretStr | None, file: Path | None, key: str) -> SecretStr:
    if (text is None) == (file is None):
        raise ValueError(f"give either {key} or {key}_file")
    return text if text is not None else read_secret(file)  # type: ignore[arg-type]


class SlackReceiver(_Receiver):
    """A Slack incoming webhook. The address is the credential."""

    type: Literal["slack"]
    webhook_url: SecretStr | None = None
    webhook_url_file: SecretFile | None = None

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
    routing_key: SecretStr | None = None
    routing_key_file: SecretFile | None = None
    url: str = PAGERDUTY_ENQUEUE

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
