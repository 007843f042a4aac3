"""The configuration that the demo runs pgheadroom with, every duration shortened by its speed.

A launch replayed five times faster is five times steeper; a watcher that looks five times as often
over windows a fifth as long sees the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from exporter.config.base import Model, duration_seconds
from exporter.config.server import Forecast, Polling, Server, Thresholds
from exporter.demo.receiver import ROUTING_KEY

INSTALL_ID = "demo"
SERVER = "launch-demo"
LEAST_INTERVAL = 0.1
"""Seconds. Polling more often would measure this machine's scheduler instead of the server."""
LEAST_DEADLINE = 1.0
"""Seconds. The launch is replayed faster, but this machine answers no faster than before."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of the demo find one another; all of them on loopback."""

    dsn: str
    """pgheadroom's own role."""
    probe_dsn: str
    """An ordinary application role, whose logins the connect probe tries."""
    listen: str
    external_url: str
    slack_url: str
    pagerduty_url: str


def demo_configuration(
    addresses: Addresses, state_dir: Path, rule_texts: Mapping[str, str], speed: float = 1.0
) -> str:
    """The configuration file, as YAML. `rule_texts` are the shipped rule files by name."""
    document = {
        "install_id": INSTALL_ID,
        "listen": addresses.listen,
        "external_url": addresses.external_url,
        "state_dir": str(state_dir),
        "servers": [_server(addresses, speed)],
        "polling": scaled(Polling(), speed),
        "thresholds": scaled(Thresholds(), speed),
        "forecast": scaled(Forecast(), speed),
        "rules": {"overrides": rule_overrides(rule_texts, speed)},
        "receivers": [
            {"name": "slack", "type": "slack", "webhook_url": addresses.slack_url},
            {
                "name": "pagerduty",
                "type": "pagerduty",
                "routing_key": ROUTING_KEY,
                "url": addresses.pagerduty_url,
            },
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def _server(addresses: Addresses, speed: float) -> dict[str, Any]:
    return {
        "name": SERVER,
        "dsn": addresses.dsn,
        "probe": {"credentials": {"dsn": addresses.probe_dsn}},
        "stale_after": Server.model_fields["stale_after"].default / speed,
    }


def scaled(model: Model, speed: float) -> dict[str, Any]:
    """`model` with every duration `speed` times shorter, within what is sane; the rest as it is."""
    values: dict[str, Any] = {}
    for name, kind in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Model):
            value = scaled(value, speed)
        elif value is not None and _is_duration(kind):
            value = max(_least(name), value / speed)
        values[name] = value
    return values


def _is_duration(kind: FieldInfo) -> bool:
    """Whether a field was declared as Seconds, or as Seconds or None."""
    options = (getattr(option, "__metadata__", ()) for option in get_args(kind.annotation))
    return any(
        isinstance(each, BeforeValidator) and each.func is duration_seconds
        for each in chain(kind.metadata, *options)
    )


def _least(name: str) -> float:
    if name.endswith("interval"):
        return LEAST_INTERVAL
    return LEAST_DEADLINE if name.endswith("deadline") else 0.0


def rule_overrides(rule_texts: Mapping[str, str], speed: float) -> dict[str, dict[str, float]]:
    """`for` and `keep_firing_for` of every rule that has them, in seconds; none at speed 1."""
    if speed == 1:
        return {}
    overrides: dict[str, dict[str, float]] = {}
    for text in rule_texts.values():
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                durations = {
                    key: duration_seconds(rule[key]) / speed
                    for key in ("for", "keep_firing_for")
                    if key in rule
                }
                if durations:
                    overrides[rule["alert"]] = durations
    return overrides
