"""The shipped rule files: promtool takes them, and every rule tells a person what to do."""

import re
import subprocess
from pathlib import Path

import pytest

from exporter.config.alerting import Rules
from exporter.config.pooler import PoolerThresholds
from exporter.config.server import Thresholds
from exporter.rules.load import load_rules
from exporter.rules.scope import SELF_PREFIXES

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES = load_rules(Rules())[0]
FAMILIES = {
    "connections", "idle_in_transaction", "waiting", "stale", "limits", "reachability",
    "notifications", "state", "configuration", "pooler", "pooler_reachability", "pool_capacity",
}  # fmt: skip
by_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_loads_the_rule_files(promtool_path):
    run(promtool_path, "check", "rules", *sorted(map(str, ALERTS.glob("*.rules.yaml"))))


@pytest.mark.parametrize(
    "path", sorted((ALERTS / "tests").glob("*.test.yaml")), ids=lambda p: p.stem
)
def test_prometheus_fires_as_written(promtool_path, path):
    run(promtool_path, "test", "rules", str(path))


@by_rule
def test_a_rule_has_what_a_page_needs(rule):
    assert {"severity", "family"} <= rule.labels.keys()
    assert rule.family in FAMILIES
    assert re.fullmatch(r"(Postgres|Pools?|Pooler|Pgheadroom)[A-Z][A-Za-z]+", rule.name)
    assert rule.keep_firing_for_seconds >= 60, "flapping must not resolve"
    for key in ("summary", "description", "action", "runbook_url"):
        assert rule.annotations.get(key, "").strip(), key
    assert "\n" not in "".join(rule.annotations.values())
    if rule.scope == "server":
        assert rule.annotations["summary"].startswith("{{ $labels.server }}: ")


@by_rule
def test_a_runbook_exists_and_names_its_rules(rule):
    base, _, page = rule.annotations["runbook_url"].rpartition("/")
    assert base == "https://github.com/pgheadroom/pgheadroom/blob/main/docs/runbooks"
    assert f"`{rule.name}`" in (RUNBOOKS / page).read_text(encoding="utf-8")


def test_every_runbook_is_used():
    used = {rule.annotations["runbook_url"].rpartition("/")[2] for rule in RULES}
    assert {path.name for path in RUNBOOKS.glob("*.md")} == used


@by_rule
def test_the_readme_lists_the_rule(rule):
    row = next(
        line
        for line in (ALERTS / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| `{rule.name}` |")
    )
    assert f"| {rule.severity} |" in row
    assert f"| {rule.family} |" in row


def test_every_threshold_is_used_and_known():
    used = set(re.findall(r'threshold="(\w+)"', " ".join(rule.expr for rule in RULES)))
    assert used == {*Thresholds.model_fields, *PoolerThresholds.model_fields}


def test_no_threshold_is_a_literal():
    """Numbers in expressions are states and seconds of blindness, never levels of use."""
    literals = {
        number for rule in RULES for number in re.findall(r"[<>=]=?\s*([\d.]+)\s", f"{rule.expr} ")
    }
    assert literals <= {"0", "1", "5", "15", "60"}


def test_every_series_is_exported():
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "exporter" / "metrics").glob("*.py")
    )
    names = set(re.findall(r"pgheadroom_\w+", " ".join(rule.expr for rule in RULES)))
    missing = {name for name in names if f'"{name}"' not in code}
    assert {name for name in missing if not name.startswith(SELF_PREFIXES)} == set()
