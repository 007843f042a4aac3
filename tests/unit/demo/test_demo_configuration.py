from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.model import Config
from exporter.config.server import Forecast, Polling, Window
from exporter.demo.configuration import (
    LEAST_DEADLINE,
    LEAST_INTERVAL,
    Addresses,
    demo_configuration,
    rule_overrides,
)

ADDRESSES = Addresses(
    dsn="postgresql://pgheadroom@127.0.0.1:5432/postgres",
    probe_dsn="postgresql://app@127.0.0.1:5432/postgres",
    listen="127.0.0.1:9970",
    external_url="http://127.0.0.1:9970",
    slack_url="http://127.0.0.1:1/slack",
    pagerduty_url="http://127.0.0.1:1/pagerduty",
)
RULES = {
    "a.rules.yaml": """
groups:
  - name: a
    rules:
      - {alert: High, expr: up == 0, for: 1m, keep_firing_for: 5m}
      - {alert: Plain, expr: up == 0}
""",
    "b.rules.yaml": """
groups:
  - name: b
    rules:
      - {alert: Held, expr: up == 0, keep_firing_for: 1m30s}
""",
}


def window_of(forecast: Forecast) -> Window:
    assert forecast.page is not None
    return forecast.page


def configuration(speed: float) -> Config:
    text = demo_configuration(ADDRESSES, Path("/state"), RULES, speed)
    return Config.model_validate(yaml.safe_load(text))


def test_at_its_own_speed_the_defaults_are_untouched() -> None:
    config = configuration(1.0)
    assert config.polling == Polling()
    assert config.forecast == Forecast()
    assert config.rules.overrides == {}


@given(st.floats(0.05, 10.0))
def test_every_speed_gives_a_configuration_that_is_valid_and_sane(speed: float) -> None:
    config = configuration(speed)
    assert config.polling.busy_interval == max(LEAST_INTERVAL, 1.0 / speed)
    assert config.polling.deadline >= LEAST_DEADLINE
    assert window_of(config.forecast).window == pytest.approx(20.0 / speed)


def test_durations_shrink_and_everything_else_stays() -> None:
    config = configuration(5.0)
    base, page = window_of(Forecast()), window_of(config.forecast)
    assert config.polling.interval == 0.4
    assert config.polling.probe_busy_interval == 1.0
    assert config.polling.busy_above == Polling().busy_above
    assert page.window == base.window / 5
    assert page.horizon == base.horizon / 5
    assert page.lookback == base.lookback / 5
    assert page.hits == base.hits
    assert config.forecast.min_r_squared == Forecast().min_r_squared
    assert config.forecast.breakout_slots == Forecast().breakout_slots
    assert config.thresholds.connections_critical == 0.85
    assert config.thresholds.idle_in_transaction_seconds == 60.0
    assert config.servers[0].stale_after == 120.0


def test_every_rule_that_has_a_duration_is_overridden() -> None:
    overrides = configuration(5.0).rules.overrides
    assert {name: (rule.for_, rule.keep_firing_for) for name, rule in overrides.items()} == {
        "High": (12.0, 60.0),
        "Held": (None, 18.0),
    }
    assert all(rule.enabled for rule in overrides.values())


def test_a_rule_without_durations_is_left_alone() -> None:
    assert "Plain" not in rule_overrides(RULES, 5.0)


def test_pages_go_to_the_local_receiver_only() -> None:
    slack, pagerduty = configuration(2.0).receivers
    assert slack.type == "slack"
    assert slack.address() == ADDRESSES.slack_url
    assert pagerduty.type == "pagerduty"
    assert pagerduty.url == ADDRESSES.pagerduty_url
