"""Rule files for Prometheus: what overrides change in them, and what they leave alone."""

from __future__ import annotations

import subprocess

import pytest

from exporter.config.alerting import RuleOverride, Rules
from exporter.rules.load import load_rules, parse_texts, shipped_rule_texts
from exporter.rules.render import dumped, duration_text, groups_of, render
from exporter.rules.rulefile import duration_seconds

OVERRIDES = {
    "PostgresConnectionsHigh": RuleOverride.model_validate(
        {"for": "90s", "keep_firing_for": "0.5s", "severity": "info"}
    ),
    "PostgresConnectionLeak": RuleOverride(enabled=False),
}


def test_files_that_nothing_changes_are_given_as_they_are():
    assert render(Rules()) == shipped_rule_texts()


def test_rendered_rules_are_those_that_are_evaluated():
    settings = Rules(overrides=OVERRIDES)
    evaluated, problems = load_rules(settings)
    rendered, wrong = parse_texts(render(settings))
    assert (problems, wrong) == ((), ())
    assert rendered == evaluated
    changed = {rule.name: rule for rule in rendered}
    assert changed["PostgresConnectionsHigh"].for_seconds == 90
    assert changed["PostgresConnectionsHigh"].keep_firing_for_seconds == 0.5
    assert changed["PostgresConnectionsHigh"].severity == "info"
    assert "PostgresConnectionLeak" not in changed


def test_a_group_without_a_rule_is_left_out(tmp_path):
    path = tmp_path / "own.rules.yaml"
    path.write_text("groups: [{name: g, rules: [{alert: A, expr: pgheadroom_up == 0}]}]")
    settings = Rules(shipped=False, files=(path,), overrides={"A": RuleOverride(enabled=False)})
    assert render(settings) == {str(path): "groups: []\n"}


def check(promtool_path, *files):
    done = subprocess.run(
        [promtool_path, "check", "rules", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_them(promtool_path, tmp_path):
    files = []
    for name, text in render(Rules(overrides=OVERRIDES)).items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    check(promtool_path, *files)


EMPTY = """
groups:
  - name: without
    rules:
  - name: g
    interval:
    rules:
      - alert: A
        expr: pgheadroom_up == 0
        for:
        labels:
        annotations:
      - {alert: B, expr: pgheadroom_up == 0, labels: , annotations: {a: ~, b: "null"}}
"""


def test_keys_without_a_value_mean_the_same_to_prometheus(promtool_path, tmp_path):
    path = tmp_path / "own.rules.yaml"
    path.write_text(EMPTY)
    severe = {"A": RuleOverride(severity="critical")}
    settings = Rules(shipped=False, files=(path,), overrides=severe)
    (text,) = render(settings).values()
    path.write_text(text)
    check(promtool_path, path)
    first, second = groups_of(text)[0]["rules"]
    assert first == {"alert": "A", "expr": "pgheadroom_up == 0", "labels": {"severity": "critical"}}
    assert second["annotations"] == {"a": None, "b": "null"}
    path.write_text(dumped(groups_of(EMPTY)))
    check(promtool_path, path)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.25, 59.0, 90.0, 3600.0, 90061.5])
def test_durations_mean_the_same_when_read_again(seconds):
    assert duration_seconds(duration_text(seconds)) == pytest.approx(seconds)
