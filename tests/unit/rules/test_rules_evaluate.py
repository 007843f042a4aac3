import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.rules.closures import vector
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.expression import parse
from exporter.rules.model import Element, Rule
from exporter.rules.vectors import AGGREGATIONS, EvaluationError, aggregated, by
from tests.support.engines import Family, Sample

INF, NAN = math.inf, math.nan


def index(*samples):
    """An index of (name, labels, value) triples, one family each."""
    return Index.of([Family([Sample(*sample)]) for sample in samples])


DATA = index(
    ("a", {"server": "s", "x": "1"}, 1.0),
    ("a", {"server": "s", "x": "2"}, 2.0),
    ("a", {"server": "s", "x": "3", "y": ""}, 3.0),
    ("b", {"server": "s", "x": "1", "z": "p"}, 10.0),
    ("b", {"server": "s", "x": "2", "z": "q"}, 20.0),
    ("one", {"server": "s", "kind": "k"}, 2.0),
    ("two", {"server": "s", "n": "1"}, 1.0),
    ("two", {"server": "s", "n": "2"}, 1.0),
    ("odd", {"v": "nan"}, NAN),
    ("odd", {"v": "inf"}, INF),
    ("odd", {"v": "-inf"}, -INF),
    ("odd", {"v": "-2.5"}, -2.5),
)


def found(text, data=DATA):
    root, problems = parse(text)
    assert not problems
    return [(dict(labels), value) for labels, value in vector(root)(data)]


def values(text):
    """Values by the label x (or v, n, or nothing) of the elements."""
    return {
        labels.get("x") or labels.get("v") or labels.get("n", ""): value
        for labels, value in found(text)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a{x="1"}', {"1": 1}),
        ('a{x!="1"}', {"2": 2, "3": 3}),
        ('a{x=~"1|2"}', {"1": 1, "2": 2}),
        ('a{x=~"."}', {"1": 1, "2": 2, "3": 3}),
        ('a{x=~"1."}', {}),
        ('a{x!~"1|2"}', {"3": 3}),
        ('a{y=""}', {"1": 1, "2": 2, "3": 3}),
        ('a{y!=""}', {}),
        ('a{y=~".*"}', {"1": 1, "2": 2, "3": 3}),
        ('a{y=~".+"}', {}),
        ('a{x="1",server="t"}', {}),
        ("nothing", {}),
        ("a + 1", {"1": 2, "2": 3, "3": 4}),
        ("10 - a", {"1": 9, "2": 8, "3": 7}),
        ("-a", {"1": -1, "2": -2, "3": -3}),
        ("a * 2 ^ 3 ^ 0", {"1": 2, "2": 4, "3": 6}),
        ("-2 ^ 2 + a", {"1": -3, "2": -2, "3": -1}),
        ("a % 2", {"1": 1, "2": 0, "3": 1}),
        ("a / 0", {"1": INF, "2": INF, "3": INF}),
        ("a > 1", {"2": 2, "3": 3}),
        ("1 < a", {"2": 2, "3": 3}),
        ("a > bool 1", {"1": 0, "2": 1, "3": 1}),
        ("a == 2", {"2": 2}),
        ("a != 2", {"1": 1, "3": 3}),
        ("a <= 2", {"1": 1, "2": 2}),
        ("a >= (2 > bool 1) * 3", {"3": 3}),
        ("a > -(-2)", {"3": 3}),
        ("a + on (x) b", {"1": 11, "2": 22}),
        ("a + ignoring (z) b", {"1": 11, "2": 22}),
        ("b > on (x) a", {"1": 10, "2": 20}),
        ("a < on (x) b", {"1": 1, "2": 2}),
        ("a > on (x) b", {}),
        ("a < bool on (x) b", {"1": 1, "2": 1}),
        ("a * on (server) group_left () one", {"1": 2, "2": 4, "3": 6}),
        ("a > on (server) group_left () one", {"3": 3}),
        ("one < on (server) group_right () a", {"3": 2}),
        ("one - on (server) group_right () a", {"1": 1, "2": 0, "3": -1}),
        ("a and on (x) b", {"1": 1, "2": 2}),
        ("a and b", {}),
        ("a and ignoring (z) b", {"1": 1, "2": 2}),
        ("a unless on (x) b", {"3": 3}),
        ('a{x="1"} or b', {"1": 10, "2": 20}),
        ('a{x="1"} or on (x) b', {"1": 1, "2": 20}),
        ("sum(a)", {"": 6}),
        ("avg(a)", {"": 2}),
        ("count(a)", {"": 3}),
        ("sum by (x) (a)", {"1": 1, "2": 2, "3": 3}),
        ("sum by (server) (a)", {"": 6}),
        ("sum without (x) (a)", {"": 6}),
        ("max(odd)", {"": INF}),
        ("min(odd)", {"": -INF}),
        ("sum(nothing)", {}),
        ("abs(odd) < 3", {"-2.5": 2.5}),
        ("ceil(odd) > -3 < 0", {"-2.5": -2}),
        ("floor(odd) == -3", {"-2.5": -3}),
        ("round(odd) == -2", {"-2.5": -2}),
        ("round(odd, 0.5) == -2.5", {"-2.5": -2.5}),
        ("clamp_max(a, 2)", {"1": 1, "2": 2, "3": 2}),
        ("clamp_min(a, 2)", {"1": 2, "2": 2, "3": 3}),
        ("vector(7)", {"": 7}),
        ("a + nothing", {}),
        ("nothing * on (server) a", {}),
        ("a + scalar(one)", {"1": 3, "2": 4, "3": 5}),
        ("a > scalar(two)", {}),
        ("odd == odd", {"inf": INF, "-inf": -INF, "-2.5": -2.5}),
        ("odd != bool odd", {"nan": 1, "inf": 0, "-inf": 0, "-2.5": 0}),
    ],
)
def test_values(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    ("group", "mean"),
    [
        ([0.7, 0.7, 0.7], 0.7),
        ([1e308, 1e308, 1e308], 1e308),
        ([1.0, 2.0, 6.0], 3.0),
        ([INF, 1.0, INF], INF),
        ([1.0, -INF, 2.0], -INF),
        ([INF, -INF, 1.0], math.nan),
        ([INF, math.nan], math.nan),
    ],
)
def test_a_mean_is_prometheus_mean(group, mean):
    (found,) = aggregated([({}, value) for value in group], by(()), dict, AGGREGATIONS["avg"])
    assert found[1] == pytest.approx(mean, rel=0, abs=0, nan_ok=True)


def test_nan_stays_nan():
    assert math.isnan(values('clamp_min(odd{v="nan"}, 1)')["nan"])
    assert math.isnan(values('clamp_max(odd{v="nan"}, 1)')["nan"])
    assert math.isnan(values('max(odd{v="nan"})')[""])
    assert math.isnan(values("vector(scalar(two))")[""])


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('a{x="1"}', {"__name__": "a", "server": "s", "x": "1"}),
        ('a{x="3"}', {"__name__": "a", "server": "s", "x": "3"}),
        ('a{x="1"} > 0', {"__name__": "a", "server": "s", "x": "1"}),
        ('a{x="1"} > bool 0', {"server": "s", "x": "1"}),
        ('a{x="1"} + 0', {"server": "s", "x": "1"}),
        ('-a{x="1"}', {"server": "s", "x": "1"}),
        ('abs(a{x="1"})', {"server": "s", "x": "1"}),
        ('a{x="1"} < on (x) b', {"x": "1"}),
        ('a{x="1"} < ignoring (z) b', {"__name__": "a", "server": "s", "x": "1"}),
        ('b{x="1"} > ignoring (z) a', {"__name__": "b", "server": "s", "x": "1"}),
        ('a{x="1"} < on (server) group_left () one', {"__name__": "a", "server": "s", "x": "1"}),
        ('a{x="1"} * on (server) group_left (kind) one', {"server": "s", "x": "1", "kind": "k"}),
        ('a{x="1"} * on (server) group_left (x) one', {"server": "s"}),
        ('one * on (server) group_right (kind) a{x="1"}', {"server": "s", "x": "1", "kind": "k"}),
        ('sum by (x, w) (a{x="1"})', {"x": "1"}),
        ('sum without (x) (a{x="1"})', {"server": "s"}),
        ("vector(1)", {}),
    ],
)
def test_labels(text, labels):
    assert [each for each, _ in found(text)] == [labels]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a > on (server) b", "many-to-many matching not allowed"),
        ("a * on (server) group_left () b", "right hand-side"),
        ("a * on (server) group_right () b", "left hand-side"),
        ("a * on (server) one", "many-to-one matching must be explicit"),
        ("a * on (server) group_left (x) one", "grouping labels must ensure unique matches"),
    ],
)
def test_ambiguous_matches_are_errors(text, said):
    with pytest.raises(EvaluationError, match=said):
        found(text)


def test_a_dropped_element_is_no_duplicate():
    assert values("a == on (server) one") == {"": 2}


def rule(expr, name="R", **fields):
    return Rule(name, "g", expr, **fields)


UP = "pgheadroom_up"


def test_an_error_is_the_rules_own():
    data = index((UP, {"server": "s", "x": "1"}, 1), (UP, {"server": "s", "x": "2"}, 0))
    rules = RuleSet([rule(f"{UP} * on (server) {UP}", "Bad"), rule(f"{UP} == 0", "Good")])
    bad, good = rules.evaluate(data)
    assert (bad.rule.name, bad.elements) == ("Bad", ())
    assert "many-to-many" in bad.error
    assert (good.elements, good.error) == ((Element({"server": "s", "x": "2"}, 0.0),), "")


def test_elements_that_become_one_alert_are_an_error():
    data = index((UP, {"server": "s", "x": "1"}, 1), (UP, {"server": "s", "x": "2"}, 1))
    (result,) = RuleSet([rule(UP, labels={"x": "same"})]).evaluate(data)
    assert "same labelset" in result.error
    (result,) = RuleSet([rule(UP, labels={"severity": "info"})]).evaluate(data)
    assert len(result.elements) == 2


def test_a_rule_that_was_not_checked_is_refused():
    for text in ("rate(pgheadroom_up[5m])", "sum(pgheadroom_up)"):
        with pytest.raises(ValueError, match="rule R: "):
            RuleSet([rule(text)])


def test_scopes_are_told_apart():
    own = rule("pgheadroom_state_writable == 0", "Own", scope="self")
    rules = RuleSet([rule(UP, "Server"), own])
    assert [each.name for each in rules.of_scope("self").rules] == ["Own"]
    assert [each.name for each in rules.of_scope("server").rules] == ["Server"]


def test_an_alert_is_the_series_and_the_rules_labels():
    it = rule(
        UP,
        labels={"severity": "critical", "who": "{{ $labels.x }}!", "none": "{{ $labels.y }}"},
        annotations={"summary": "{{ $labels.server }} {{ $value }}"},
    )
    element = Element({"server": "s", "x": "1"}, 0.5)
    assert it.alert_labels(element) == {
        "server": "s", "x": "1", "severity": "critical", "who": "1!", "alertname": "R",
    }  # fmt: skip
    assert it.alert_annotations(element) == {"summary": "s 0.5"}
    assert (it.severity, it.family) == ("critical", "R")
    assert rule(UP, labels={"family": "f"}).family == "f"
    assert rule(UP).severity == "warning"


NAMES = st.text(min_size=1, max_size=20)


def quoted(text):
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@given(name=NAMES, other=NAMES)
def test_any_label_value_is_found_by_its_own_matcher(name, other):
    data = index((UP, {"server": name}, 1))
    assert found(f"{UP}{{server={quoted(name)}}}", data)
    assert bool(found(f"{UP}{{server={quoted(other)}}}", data)) == (name == other)
    assert found(f'{UP}{{server=~".+"}}', data)
    (result,) = RuleSet([rule(f"{UP} > 0")]).evaluate(data)
    assert result.elements == (Element({"server": name}, 1.0),)
