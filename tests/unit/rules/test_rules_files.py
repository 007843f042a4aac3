import pytest

from exporter.config.alerting import RuleOverride, Rules
from exporter.rules.load import (
    file_problems,
    load_rules,
    parse_rules,
    parse_texts,
    shipped_rule_texts,
    with_overrides,
)
from exporter.rules.model import Element
from exporter.rules.rulefile import duration_seconds

GOOD = """
groups:
  - name: g
    interval: 30s
    labels: {team: db}
    rules:
      - alert: Down
        expr: pgheadroom_up == 0
        for: 1m30s
        keep_firing_for: 5m
        labels: {severity: critical, family: f, env: 1, on: yes}
        annotations:
          summary: "{{ $labels.server }} is down"
      - alert: Stuck
        expr: pgheadroom_outbox_pending > 0
"""


def test_a_file_becomes_rules():
    (down, stuck), problems = parse_rules(GOOD, "f.yaml")
    assert problems == ()
    assert (down.name, down.group, down.expr) == ("Down", "g", "pgheadroom_up == 0")
    assert (down.for_seconds, down.keep_firing_for_seconds) == (90.0, 300.0)
    assert down.labels == {
        "team": "db", "severity": "critical", "family": "f", "env": "1", "on": "yes",
    }  # fmt: skip
    assert down.annotations == {"summary": "{{ $labels.server }} is down"}
    assert (down.scope, stuck.scope) == ("server", "self")
    assert (stuck.severity, stuck.family, stuck.for_seconds) == ("warning", "Stuck", 0.0)


def test_what_is_null_without_quotes_is_no_label_and_an_empty_annotation():
    text = (
        "groups: [{name: e, rules: }, {name: g, interval: , rules: [{alert: R, for: ~, labels: ,"
        " expr: pgheadroom_up, annotations: {a: ~, b: Null, c: NULL, d: null, e: , f: '~'}}]}]"
    )
    (rule,), problems = parse_rules(text, "f.yaml")
    assert problems == ()
    assert rule.annotations == dict.fromkeys("abcde", "") | {"f": "~"}
    assert rule.labels == {}
    labelled = text.replace("labels: ,", "labels: {a: ~, b: null, c: , d: 'null', e: nil},")
    (rule,), _ = parse_rules(labelled, "f.yaml")
    assert rule.alert_labels(Element({}, 1.0)) == {"d": "null", "e": "nil", "alertname": "R"}


def one(body):
    """The problems of a file with one rule, `body` being its lines."""
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    text = f"groups:\n  - name: g\n    rules:\n      - alert: R\n{lines}\n"
    rules, problems = parse_rules(text, "f.yaml")
    assert rules == ()
    return problems


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("for: 5m", "group 'g', rule R: the expression is missing"),
        ("expr:", "the expression is missing"),
        ("expr: [1]", "the expression is missing"),
        ("expr: pgheadroom_up\nfor: 5 m", "`for`: '5 m' is not a duration"),
        ("expr: pgheadroom_up\nkeep_firing_for: 1.5m", "`keep_firing_for`: '1.5m'"),
        ("expr: pgheadroom_up\nfor: [1]", "`for`: \"['1']\" is not a duration"),
        ("expr: pgheadroom_up\nannotation: {a: b}", "the key 'annotation' is unknown"),
        ("expr: pgheadroom_up\nlimit: 3", "`limit` is not evaluated here; load it in Prometheus"),
        ("expr: pgheadroom_up\nlabels: [a]", "`labels` is a mapping"),
        ("expr: pgheadroom_up\nlabels: {1a: b}", "`labels.1a`: a name has letters"),
        ("expr: pgheadroom_up\nlabels: {a: [b]}", "`labels.a`: the value is a text"),
        ("expr: pgheadroom_up\nlabels: {server: b}", "`labels.server` is set by the evaluation"),
        ("expr: pgheadroom_up\nlabels: {severity: page}", "write critical, info or warning"),
        ("expr: pgheadroom_up\nlabels: {severity: '{{ $value }}'}", "the same for all alerts"),
        ("expr: pgheadroom_up\nlabels: {family: '{{ $value }}'}", "the same for all alerts"),
        ("expr: pgheadroom_up\nannotations: {a: '{{ $val }}'}", "`annotations.a`: variable '$val'"),
        ("expr: rate(pgheadroom_up[5m])", "load it in Prometheus instead"),
        ("expr: sum(pgheadroom_up)", "would not carry the label server"),
        ("expr: pgheadroom_up\nexpr: pgheadroom_up", "the key 'expr' is given twice"),
        ("expr: pgheadroom_up\nfor: ''", "`for`: '' is not a duration"),
        ("expr: pgheadroom_up\nlabels: ''", "`labels` is a mapping"),
        ("expr: pgheadroom_up\nlabels:\n  a: {{ $value }}", "a key is a text; put {{ ... }} in"),
        ("expr: pgheadroom_up\nlabels:\n  a: {{ $value }}", "line 7, column"),
        ("expr: pgheadroom_up\nlabels: {? [a] : b}", "a key is a text"),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(body, said):
    problems = one(body)
    assert any(problem.startswith("f.yaml: ") and said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of groups"),
        ("groups: 3", "a list of groups"),
        ("[", "the file is not YAML"),
        ("[" * 5000, "nested too deep"),
        ("groups: []\nextra: 1", "the key 'extra' is unknown; known are groups"),
        ("groups: [{rules: []}]", "group number 1: a group is a mapping with a `name`"),
        ("groups: [{name: g, rules: 3}]", "`rules` is a list"),
        ("groups: [{name: g, interval: x}]", "`interval`: 'x' is not a duration"),
        ("groups: [{name: g, query_offset: 1m}]", "load it in Prometheus instead"),
        ("groups: [{name: g}, {name: g}]", "another group of this name"),
        ("groups: [{name: g, rules: [{expr: up}]}]", "rule number 1: a rule is a mapping"),
        ("groups: [{name: g, rules: [3]}]", "rule number 1: a rule is a mapping"),
        ("groups: [{name: g, rules: [{record: a, expr: b}]}]", "recording rule 'a': recording"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(text, said):
    rules, (problem, *_) = parse_rules(text, "f.yaml")
    assert rules == ()
    assert said in problem


def test_all_problems_are_told_at_once_and_good_rules_are_kept():
    text = GOOD + "      - alert: Bad\n        expr: up\n        for: x\n      - record: r\n"
    rules, problems = parse_rules(text, "f.yaml")
    assert [rule.name for rule in rules] == ["Down", "Stuck"]
    assert len(problems) == 3


def test_names_tell_rules_apart():
    twice = GOOD + "      - alert: Down\n        expr: pgheadroom_up\n"
    assert "another rule of this name" in parse_rules(twice, "f.yaml")[1][0]
    rules, problems = parse_texts({"a.yaml": GOOD, "b.yaml": GOOD})
    assert [rule.name for rule in rules] == ["Down", "Stuck"]
    assert problems[0].startswith("b.yaml: group 'g', rule Down: ")
    assert "in a.yaml" in problems[0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5s", 5), ("1h30m", 5400), ("500ms", 0.5), ("1y2w3d", 382 * 86_400)],
)
def test_durations(text, seconds):
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "1.5s", "-1s", "1m1h", "1s1s", "5 s", "x"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        duration_seconds(text)


def test_the_shipped_pack_has_no_problem():
    texts = shipped_rule_texts()
    assert {"connections.rules.yaml", "self.rules.yaml"} <= texts.keys()
    rules, problems = load_rules(Rules())
    assert problems == ()
    assert len(rules) >= 20
    assert load_rules(Rules(shipped=False)) == ((), ())
    off = {"PostgresConnectionsHigh": RuleOverride(enabled=False), "Nothing": RuleOverride()}
    fewer, problems = load_rules(Rules(overrides=off))
    assert len(fewer) == len(rules) - 1
    assert problems[0].startswith("rules.overrides.Nothing: ")


def test_an_operators_files_are_read_beside_the_pack(tmp_path):
    good, latin, absent = tmp_path / "good.yaml", tmp_path / "latin.yaml", tmp_path / "absent.yaml"
    good.write_text(GOOD, encoding="utf-8")
    latin.write_bytes(b"\xe9")
    assert file_problems([good]) == ()
    unreadable = file_problems([latin, absent])
    assert unreadable == (
        f"{latin}: is not UTF-8 text",
        f"{absent}: cannot be read: No such file or directory",
    )
    clash = GOOD.replace("Down", "PostgresConnectionsHigh")
    good.write_text(clash, encoding="utf-8")
    assert "in connections.rules.yaml" in file_problems([good])[0]


def test_overrides_change_rules():
    rules, _ = parse_rules(GOOD, "f.yaml")
    changed = RuleOverride.model_validate(
        {"for": "0s", "keep_firing_for": "10s", "severity": "info"}
    )
    (down, stuck), problems = with_overrides(rules, {"Down": changed})
    assert problems == ()
    assert (down.for_seconds, down.keep_firing_for_seconds, down.severity) == (0.0, 10.0, "info")
    assert down.labels["family"] == "f"
    assert stuck == rules[1]
    assert with_overrides(rules, {"Down": RuleOverride()})[0] == rules
    (left,), _ = with_overrides(rules, {"Down": RuleOverride(enabled=False)})
    assert left.name == "Stuck"


def test_an_override_of_no_rule_names_near_ones():
    rules, _ = parse_rules(GOOD, "f.yaml")
    _, (near, far) = with_overrides(rules, {"Dwn": RuleOverride(), "Xyzzy": RuleOverride()})
    assert near == "rules.overrides.Dwn: no rule has this name; did you mean Down?"
    assert far.endswith("there are: Down, Stuck")
