"""One rule file, two engines: ours and Prometheus' (promtool) find the same on the same samples."""

import json
import math
import re

import pytest

from exporter.config.alerting import Rules
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules, parse_rules, shipped_rule_texts
from tests.support.engines import (
    NASTY,
    Family,
    Sample,
    own_samples,
    pooler_samples,
    promtool,
    seeded,
    server_samples,
)

pytestmark = pytest.mark.usefixtures("promtool_path")
#: Evaluated every 5 minutes up to here: long enough for every `for` of the pack.
AT = "10m"


def expected(rules, samples, at=AT):
    """What our engine makes of `samples`, as promtool writes expectations."""
    tests, alerts = [], {}
    for result in RuleSet(rules).evaluate(Index.of([Family(samples)])):
        assert result.error == "", result
        alerts[result.rule.name] = [
            {
                "exp_labels": result.rule.alert_labels(element),
                "exp_annotations": result.rule.alert_annotations(element),
            }
            for element in result.elements
        ]
        tests.append(
            {
                "eval_time": at,
                "alertname": result.rule.name,
                "exp_alerts": alerts[result.rule.name],
            }
        )
    return tests, sum(map(len, alerts.values()))


def test_the_pack_fires_alike_in_both_engines(tmp_path):
    rules, _ = load_rules(Rules())
    cases, fired = [], 0
    for seed in range(25):
        draw = seeded(seed)
        samples = own_samples(draw)
        for server in ("prod", NASTY[seed % len(NASTY)]):
            samples += server_samples(draw, server)
            samples += pooler_samples(draw, server, "pgb-1")
        alerts, count = expected(rules, samples)
        cases.append((samples, alerts))
        fired += count
    assert fired > 300
    texts = list(shipped_rule_texts().values())
    groups = "\n".join(text.partition("\ngroups:\n")[2] for text in texts)
    done = promtool(tmp_path, f"groups:\n{groups}", cases)
    assert done.returncode == 0, (done.stdout + done.stderr)[:8000]


#: Of series about pgheadroom itself: rules about servers may not take several together.
PREFIX = "pgheadroom_state_"
#: Expressions beyond the pack's. The series are p{server,x,y}, q{server,x}, r{server}.
EXPRESSIONS = [
    "p", "p > 1", "1 < p", "p > bool 1 == 0", "p + 1", "2 - p", "p * -1", "-p", "--p", "p / 0",
    "p % 2", "-p % 2", "p % 0", "p ^ 2", "(p > 0) ^ 0.5", "p ^ -1", "2 ^ (p == 3)", "-2 ^ 2 + p",
    "p - 1 - 1", "p * 2 ^ 3 ^ 0.5", "p == p", "p != p", "p == bool p", "p / p", "p <= 1", "p >= 2",
    'p{x="a"}', 'p{x!="a"}', 'p{x=~"a|b"}', 'p{x!~"a.*"}', 'p{y=""}', 'p{y!=""}', 'p{y=~".*"}',
    'p{x=~"\\\\pL"}', 'p{x=~"(?i:A)"}', 'p{x=~"\\\\x{e9}"}', 'p{x=~"[[:alpha:]]"}', 'p{x=~"(?i)É"}',
    'p{x=~"\\\\ba\\\\b"}', 'p{x=~"(?P<n>a)|b"}', 'p{x=~"^a$"}', 'p{x=~"(a*)*"}', 'p{x!~"[^a]"}',
    'p{x=~"[a-b]"}', 'p{x=~"A"}', 'p{x=~"(?i)A"}', 'p{x=~"a?b*"}', 'p{x=~"\\\\w"}', 'p{x=~"."}',
    "r + on (server) r", "q * on (server) group_left () r", "r * on (server) group_right () q",
    "r < on (server) group_right () q", "q > on (server) group_left () r",
    "q > bool on (server) group_left () r", 'r * on (server) group_left (x) q{x="a"}',
    "p * ignoring (y) group_left () q", "q / ignoring (y) group_right () p", "q - ignoring () q",
    "q > on (server, x) q", "q >= on (server, x) q", "q >= ignoring (z) q",
    "q < ignoring (x) group_left () r",
    "p and q", "p and on (x) q", "p and on (server, x) q", "p unless on (x) q", "q or r", "r or q",
    'q{x="a"} or on (server) r', "p and ignoring (y) q", "p unless ignoring (y) q > 1",
    "sum by (server) (p)", "sum by (server, y) (p)", "sum without (x) (p)", "max by (server) (p)",
    "min without (x, y) (p)", "count by (server, x) (p)", "avg by (server) (q)",
    "sum by (server) (p) / on (server) r", "count by (server) (p > 1) > 1",
    "abs(p)", "ceil(p)", "ceil(-p % 1)", "floor(-p)", "round(p)", "round(-p)", "round(p, 0.4)",
    "clamp_min(p, 1.5)",
    "clamp_max(p, 1.5)", "p + scalar(r)", 'p > scalar(r{server="s"})', "p and on () vector(1)",
    "p * scalar(vector(3))", "(p > 1) + (p < 3)", "p > 1 and p < 3 or q == 1", "p > 1 > 0",
    "p == 1 or p == 2 unless q", "p + p * p", '(p + q{x=~".*"}) or p',
]  # fmt: skip


def vector_samples(draw):
    numbers = [0.0, 1.0, 1.5, 2.0, 3.0, -2.5, 0.1, 1e9, math.inf, -math.inf, math.nan]
    found = []
    for server in ("s", "t"):
        found.append(Sample(f"{PREFIX}r", {"server": server}, draw.choice(numbers)))
        for x in draw.sample(["a", "b", "é"], 2):
            labels = {"server": server, "x": x}
            found.append(Sample(f"{PREFIX}q", labels, draw.choice(numbers)))
            for y in draw.sample(["", "1", "2"], draw.randint(1, 3)):
                more = labels | ({"y": y} if y else {})
                found.append(Sample(f"{PREFIX}p", more, draw.choice(numbers)))
    return found


def named(text):
    """`text` with the short names of series spelled out."""
    return re.sub(r'(?<![\w"])[pqr](?![\w"(=!])', lambda found: f"{PREFIX}{found[0]}", text)


FORMS = (
    "{{ $value }}", "{{ $value | humanize }}", "{{ humanize1024 $value }}",
    "{{ $value | humanizePercentage }}", "{{ $value | humanizeDuration }}",
    '{{ printf "%.0f|%7.2f|%-8.1f|%+g" $value $value $value $value }}',
    '{{ printf "%e|%v|%06.1f" $value $value $value }}', '{{ printf "%q|%5s" $labels.x "z" }}',
    "{{ $labels.server }}/{{ .Labels.x }}/{{ $labels.nope }}",
    "a {{- 1 }} {{ 2 -}} b {{/* c */}}", '{{ "}}" | toUpper }}',
)  # fmt: skip


def rule_text(expressions):
    annotations = {f"a{number}": form for number, form in enumerate(FORMS)}
    rules = [
        {"alert": f"E{number}", "expr": named(text), "annotations": annotations}
        for number, text in enumerate(expressions)
    ]
    return json.dumps({"groups": [{"name": "g", "rules": rules}]}, ensure_ascii=False)


def test_expressions_and_templates_mean_the_same_in_both_engines(tmp_path):
    text = rule_text(EXPRESSIONS)
    rules, problems = parse_rules(text, "x")
    assert problems == ()
    cases, fired = [], 0
    for seed in range(8):
        samples = vector_samples(seeded(seed))
        alerts, count = expected(rules, samples, "0m")
        cases.append((samples, alerts))
        fired += count
    assert fired > 1000
    done = promtool(tmp_path, text, cases)
    assert done.returncode == 0, (done.stdout + done.stderr)[:8000]


def test_a_mean_of_equal_values_reaches_its_threshold_in_both_engines(tmp_path):
    values = [0.7, 0.1, 0.3, 1 / 49]
    text = rule_text([f"avg by (server) (q) >= {value!r}" for value in values])
    rules, _ = parse_rules(text, "x")
    cases = []
    for value in values:
        samples = [
            Sample(f"{PREFIX}q", {"server": "s", "x": str(number)}, value) for number in range(7)
        ]
        alerts, count = expected(rules, samples)
        assert count == sum(value >= least for least in values)
        cases.append((samples, alerts))
    done = promtool(tmp_path, text, cases)
    assert done.returncode == 0, (done.stdout + done.stderr)[:8000]


@pytest.mark.parametrize(
    "expression",
    [
        "q > on (server) q",
        "p * on (server) group_left () q",
        "p * on (server) group_right () q",
        "q * on (server) r",
        "q * on (server) group_left (x) r",
    ],
)
def test_what_is_ambiguous_is_an_error_in_both_engines(tmp_path, expression):
    text = rule_text([expression])
    rules, problems = parse_rules(text, "x")
    assert problems == ()
    samples = [sample._replace(value=1.0) for sample in vector_samples(seeded(1))]
    (result,) = RuleSet(rules).evaluate(Index.of([Family(samples)]))
    assert "match" in result.error
    done = promtool(tmp_path, text, [(samples, [])])
    assert result.error.split(";")[0].split(" hand-side")[0][:25] in done.stdout + done.stderr
