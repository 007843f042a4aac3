"""Where a panel turns yellow or red: the numbers and severities of the shipped rules, no others.

A threshold's number is its default in the configuration, its colour the severity of the rule that
compares with it. Lines in graphs are drawn from `pgheadroom_threshold`, so they follow the
configuration; colours cannot, because Grafana keeps them in the dashboard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from exporter.config.pooler import PoolerThresholds
from exporter.config.server import Forecast, Thresholds

ROOT = Path(__file__).parents[2]
COLORS = {"warning": "yellow", "critical": "red"}
GOOD = "green"
_THRESHOLD = re.compile(r'threshold="(\w+)"')

Rule = dict[str, Any]
Step = dict[str, object]


@cache
def rules() -> tuple[Rule, ...]:
    """Every shipped rule, as its file has it."""
    files = sorted((ROOT / "alerts").glob("*.rules.yaml"))
    groups = [g for file in files for g in yaml.safe_load(file.read_text("utf-8"))["groups"]]
    return tuple(rule for group in groups for rule in group["rules"])


def number(threshold: str) -> float:
    """The default of `threshold`, of servers or of poolers."""
    defaults = {**Thresholds().model_dump(), **PoolerThresholds().model_dump()}
    return float(defaults[threshold])


def horizon(window: str) -> float:
    """Seconds within which the forecast `window` (page, warning, leak) speaks."""
    return float(Forecast().model_dump()[window]["horizon"])


def color(threshold: str) -> str:
    """The colour of the rule that compares with `threshold`; of several the milder one.

    A page goes by its level alone; the one rule that also asks for blindness must not repaint it.
    """
    found = {rule["labels"]["severity"] for rule in rules() if threshold in _compared(rule)}
    return COLORS[next(severity for severity in COLORS if severity in found)]


def _compared(rule: Rule) -> Iterator[str]:
    return (name for name in _THRESHOLD.findall(rule["expr"]))


def steps(*thresholds: str, base: str = GOOD) -> list[Step]:
    """Grafana's steps for the thresholds, in rising order."""
    return [
        {"color": base, "value": None},
        *({"color": color(name), "value": number(name)} for name in thresholds),
    ]


def forecast_steps() -> list[Step]:
    """Steps for seconds that are left: within the page's horizon red, within the others' yellow."""
    return [
        {"color": COLORS["critical"], "value": None},
        {"color": COLORS["warning"], "value": horizon("page")},
        {"color": GOOD, "value": horizon("leak")},
    ]


#: For counts of which a single one is an incident already: 0 is good.
NONE_OR_RED: list[Step] = [{"color": GOOD, "value": None}, {"color": "red", "value": 1}]
#: For slots that are left: PostgresConnectionsExhausted fires at 0.
LEFT: list[Step] = [{"color": "red", "value": None}, {"color": GOOD, "value": 1}]
#: For what is only shown.
PLAIN: list[Step] = [{"color": "text", "value": None}]


def runbooks() -> dict[str, list[str]]:
    """The names of the rules by the name of their runbook."""
    found: dict[str, list[str]] = {}
    for rule in rules():
        page = rule["annotations"]["runbook_url"].rpartition("/")[2].removesuffix(".md")
        found.setdefault(page, []).append(rule["alert"])
    return found


def runbook_folder() -> str:
    """The address of the folder that the runbooks are in, with its slash."""
    folders: set[str] = {
        rule["annotations"]["runbook_url"].rpartition("/")[0] + "/" for rule in rules()
    }
    (folder,) = folders
    return folder
