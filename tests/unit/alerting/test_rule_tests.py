"""Unit tests of rules, run by our engine: what passes, what fails, and what is no such test."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from click.testing import CliRunner

from exporter.alerting.rule_tests import failures
from exporter.cli.rules import rules as command
from exporter.rules.model import Rule
from exporter.rules.series import Series, labels_of, values_of

RULE = Rule(
    "Full", "g", "pgheadroom_connections_free == 0", 60.0, 30.0,
    {"severity": "critical"}, {"summary": "{{ $labels.server }} is full"},
)  # fmt: skip
FIRING = {"exp_labels": {"server": "a", "severity": "critical"},
          "exp_annotations": {"summary": "a is full"}}  # fmt: skip


def document(*tests, values="0x20", **more):
    case = {
        "interval": "30s",
        "input_series": [{"series": 'pgheadroom_connections_free{server="a"}', "values": values}],
        "alert_rule_test": list(tests),
    }
    return {"evaluation_interval": "30s", "tests": [case | more]}


def asked(at, *alerts):
    return {"alertname": "Full", "eval_time": at, "exp_alerts": list(alerts)}


@pytest.mark.parametrize(
    ("values", "at", "fires"),
    [
        ("0x20", "30s", False),
        ("0x20", "1m", True),
        ("0x20", "1m15s", True),
        ("0 0 0 5x20", "1m30s", True),
        ("0 0 0 5x20", "2m", False),
        ("0 0 0 stale", "1m30s", True),
        ("0 0 0 stale", "2m", False),
        ("0 0 0 _x20", "4m", True),
        ("0 5 0x20", "1m", False),
    ],
)
def test_alerts_go_through_time_as_they_do_when_they_page(values, at, fires):
    wanted = [FIRING] if fires else []
    assert failures(document(asked(at, *wanted), values=values), [RULE]) == []
    other = [] if fires else [FIRING]
    (said,) = failures(document(asked(at, *other), values=values), [RULE])
    assert "Full at" in said


def test_labels_and_annotations_are_compared():
    wrong = FIRING | {"exp_annotations": {"summary": "b is full"}}
    missing, extra = failures(document(asked("1m", wrong)), [RULE])
    assert "expected but not firing" in missing
    assert "firing but not expected" in extra


def test_an_empty_annotation_can_be_expected():
    rule = replace(RULE, annotations={"summary": "{{ $labels.datname }}"})
    for nothing in ("", None):
        empty = {"exp_labels": FIRING["exp_labels"] | {"team": nothing}}
        empty |= {"exp_annotations": {"summary": nothing}}
        assert failures(document(asked("1m", empty)), [rule]) == []
    assert len(failures(document(asked("1m", empty | {"exp_annotations": {}})), [rule])) == 2


def test_an_interval_of_0_is_the_default():
    given = document(asked("1m", FIRING), asked("30s"), interval="0s")
    assert failures(given, [RULE]) == []
    given["evaluation_interval"] = "0s"
    assert failures(given, [RULE]) == []
    assert failures(given | {"evaluation_interval": None}, [RULE]) == []


def wrong(key, *path):
    """A test file with `key` at a place in it."""
    found = document(asked("1m", deepcopy(FIRING)), promql_expr_test=[
        {"expr": "x", "eval_time": "1m", "exp_samples": [{"labels": "x", "value": "1"}]}
    ])  # fmt: skip
    place = found
    for step in path:
        place = place[step]
    place[key] = "1"
    return found


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (wrong("evaluatoin_interval"), ""),
        (wrong("alert_rule_tests", "tests", 0), "tests number 1: "),
        (wrong("value", "tests", 0, "input_series", 0), "tests number 1, input_series number 1: "),
        (wrong("exp_alert", "tests", 0, "alert_rule_test", 0), "alert_rule_test number 1: "),
        (wrong("labels", "tests", 0, "alert_rule_test", 0, "exp_alerts", 0), "exp_alerts number 1"),
        (wrong("eval", "tests", 0, "promql_expr_test", 0), "promql_expr_test number 1: "),
        (wrong("histogram", "tests", 0, "promql_expr_test", 0, "exp_samples", 0), "exp_samples"),
    ],
)
def test_a_key_that_promtool_does_not_know_is_told_with_its_place(given, where):
    with pytest.raises(ValueError, match=rf"{where}.*the key '\w+' is unknown; known are"):
        failures(given, [RULE])


def test_every_key_of_promtools_may_be_given():
    more = {"name": "t", "external_labels": {"a": "b"}, "external_url": "u", "start_timestamp": "0"}
    given = document(asked("1m", FIRING), **more)
    given |= {"group_eval_order": ["g"], "fuzzy_compare": "true", "rule_files": ["x"]}
    assert failures(given, [RULE]) == []


@pytest.mark.parametrize(
    ("expr", "samples", "good"),
    [
        ('ALERTS{alertstate="pending"}', [], True),
        ("count(ALERTS)", [{"labels": "{}", "value": "1"}], True),
        ("count(ALERTS)", [{"labels": "{}", "value": "2"}], False),
        ("pgheadroom_connections_free", [
            {"labels": 'pgheadroom_connections_free{server="a"}', "value": "0"}], True),
        ("pgheadroom_connections_free", [], False),
    ],
)  # fmt: skip
def test_expressions_see_the_series_and_the_alerts(expr, samples, good):
    tests = [{"expr": expr, "eval_time": "2m", "exp_samples": samples}]
    assert (failures(document(promql_expr_test=tests), [RULE]) == []) is good


def test_what_needs_history_is_for_promtool():
    tests = [{"expr": "rate(x[5m])", "eval_time": "2m"}]
    with pytest.raises(ValueError, match="such a test is for promtool"):
        failures(document(promql_expr_test=tests), [RULE])


def test_values_are_in_promtools_notation():
    assert values_of("1-2x2 -1e3 _x2 .5 Inf") == [1, -1, -3, -1000, None, None, 0.5, float("inf")]
    for bad in ("x", "1+x2", "_x", "1x", "1+2", "1x200000"):
        with pytest.raises(ValueError, match=r"."):
            values_of(bad)


def test_labels_may_hold_anything_quoted():
    assert labels_of(r'n{a="},\"x",b=""}') == {"__name__": "n", "a": '},"x', "b": ""}
    for bad in ("n{", "n{a=b}", 'n{a="b" c="d"}', "1n"):
        with pytest.raises(ValueError, match="is not a series"):
            labels_of(bad)


def test_a_sample_is_seen_for_five_minutes():
    series = Series({}, [1.0, None, "stale"], 60.0)
    assert [series.at(s) for s in (0, 59, 60, 119, 120, 1000)] == [1, 1, 1, 1, None, None]
    assert Series({}, [1.0], 60.0).at(300) == 1
    assert Series({}, [1.0], 60.0).at(301) is None


def run(tmp_path, text):
    rule = tmp_path / "a.rules.yaml"
    rule.write_text("groups: [{name: g, rules: [{alert: A, expr: pgheadroom_up == 0}]}]")
    file = tmp_path / "a.test.yaml"
    file.write_text(text)
    return CliRunner().invoke(command, ["test", str(file)])


def test_the_command_says_which_file_failed_and_why(tmp_path):
    body = (
        "rule_files: ['*.rules.yaml']\n"
        "tests:\n"
        "  - input_series: [{series: 'pgheadroom_up{server=\"a\"}', values: 0}]\n"
        "    alert_rule_test: [{alertname: A, eval_time: 0, exp_alerts: [%s]}]\n"
    )
    good = run(tmp_path, body % "{exp_labels: {server: a}}")
    assert (good.exit_code, good.output.endswith("a.test.yaml: ok\n")) == (0, True)
    bad = run(tmp_path, body % "")
    assert bad.exit_code == 1
    assert "firing but not expected" in bad.output


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "tests: 3",
        "tests: [{input_series: [{}]}]",
        "a: [",
        "rule_files: [none.yaml]\ntests: []",
        "rule_files: a.rules.yaml\ntests: []",
        "evaluatoin_interval: 1m\ntests: []",
        "tests: [{name: {{ $labels.server }}}]",
    ],
)
def test_what_is_no_test_file_is_exit_status_2(tmp_path, text):
    assert run(tmp_path, text).exit_code == 2


def test_patterns_of_rule_files_are_promtools(tmp_path):
    folder = tmp_path / "sub[1]" / "deep"
    folder.mkdir(parents=True)
    (folder / ".z.yaml").write_text(
        "groups: [{name: g, rules: [{alert: Z, expr: pgheadroom_up == 0}]}]"
    )
    tests = (
        "tests:\n"
        "  - input_series: [{series: 'pgheadroom_up{server=\"a\"}', values: 0}]\n"
        "    alert_rule_test:\n"
        "      - {alertname: Z, eval_time: 0, exp_alerts: [{exp_labels: {server: a}}]}\n"
    )
    for pattern in ("sub*/*/*z.yaml", "**/deep/.z.yaml", f"{tmp_path}/s*/d*/.z.*"):
        done = run(tmp_path, f"rule_files: ['{pattern}']\n{tests}")
        assert (done.exit_code, done.output.endswith("a.test.yaml: ok\n")) == (0, True), done.output


def test_check_lists_the_rules_or_their_problems(tmp_path):
    good = CliRunner().invoke(command, ["check"])
    assert good.exit_code == 0
    assert "PostgresConnectionsCritical" in good.output
    bad = tmp_path / "bad.rules.yaml"
    bad.write_text("groups: [{name: g, rules: [{alert: A, expr: 'rate(x[5m]) > 1'}]}]")
    refused = CliRunner().invoke(command, ["check", str(bad)])
    assert refused.exit_code == 2
    assert "bad.rules.yaml" in refused.output
    bad.write_text("groups: [{name: g, rules: [{alert: A, expr: up, labels: {a: {{ $value }}}}]}]")
    refused = CliRunner().invoke(command, ["check", str(bad)])
    assert refused.exit_code == 2
    assert "put {{ ... }} in quotes" in refused.output


def test_render_writes_files_or_one_text(tmp_path):
    out = CliRunner().invoke(command, ["render", "--out", str(tmp_path / "out")])
    assert out.exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"connections.rules.yaml"}
    assert CliRunner().invoke(command, ["render"]).output.startswith("groups:")
