"""One rule file, two engines, through time: `for`, `keep_firing_for`, gaps, series that restart.

Both evaluate every shipped rule at every step over the same series of two servers and a pooler,
and must have the same alerts firing, with the same labels and annotations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st

from exporter.alerting.alerts import (
    Alerts,
    AlertState,
    advance,
    alerts_from_json,
    alerts_to_json,
)
from exporter.alerting.rule_tests import failures
from exporter.config.alerting import Rules
from exporter.rules.evaluate import Index, RuleSet
from exporter.rules.load import load_rules, shipped_rule_texts
from tests.support.engines import (
    Family,
    Sample,
    number,
    own_samples,
    pooler_samples,
    run_promtool,
    seeded,
    series,
    server_samples,
)

pytestmark = pytest.mark.usefixtures("promtool_path")
STEP_SECONDS = 30
STEPS = 44
#: Prometheus looks back 5 minutes for a sample (`query.lookback-delta`): no gap may be longer.
MOST_MISSED = 9


class Phase(NamedTuple):
    """What an endpoint's series do for some steps.

    `new`: other values; `again`: a failed poll publishes the last ones; `missed`: no scrape, so
    each engine has what it had; `gone`: the series end, as those of an exporter that was stopped.
    """

    kind: str
    steps: int
    seed: int


KINDS = st.sampled_from(["new", "new", "again", "missed", "gone"])
PHASES = st.lists(
    st.builds(Phase, KINDS, st.integers(1, 16), st.integers(0, 10_000)), min_size=3, max_size=8
)
CASES = st.lists(st.tuples(PHASES, PHASES, PHASES, PHASES), min_size=4, max_size=4)


def samples_of(endpoint: int, seed: int) -> Any:
    draw = seeded(seed)
    if endpoint == 3:
        return own_samples(draw)
    if endpoint == 2:
        return pooler_samples(draw, "prod", "pgb-1")
    return server_samples(draw, ("prod", "b\\é")[endpoint])


class Step(NamedTuple):
    """What an endpoint publishes; `written` is false where Prometheus was not there to see it."""

    samples: list[Sample]
    written: bool = True


def steps_of(endpoint: int, phases: list[Phase]) -> list[Step]:
    found: list[Step] = []
    now: list[Sample] = []
    missed = 0
    for phase in phases:
        if phase.kind == "new":
            now = samples_of(endpoint, phase.seed)
        elif phase.kind == "gone":
            now = []
        for _ in range(phase.steps):
            missed = missed + 1 if phase.kind == "missed" and missed < MOST_MISSED else 0
            found.append(Step(now, written=not missed))
    return [*found, *[Step(now)] * STEPS][:STEPS]


def key_of(sample: Sample) -> tuple[str, ...]:
    return (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair))


def series_of(steps: list[Step]) -> Iterator[dict[str, str]]:
    """Every series of an endpoint, in promtool's words for its values."""
    known = {key_of(sample): sample for step in steps for sample in step.samples}
    for key, any_of_them in known.items():
        values, open_ = [], False
        for step in steps:
            value = {key_of(each): each.value for each in step.samples}.get(key)
            if not step.written:
                values.append("_")
            elif value is None:
                values.append("stale" if open_ else "_")
                open_ = False
            else:
                values.append(number(value))
                open_ = True
        yield series(any_of_them, " ".join(values))


def ours(rules: RuleSet, steps: list[Step]) -> Iterator[list[tuple[str, Any, Any]]]:
    """(alertname, labels, annotations) of what fires after each step, in our engine."""
    alerts: Alerts = {}
    for count, step in enumerate(steps):
        results = rules.evaluate(Index.of([Family(step.samples)]))
        assert not [each.error for each in results if each.error]
        alerts = advance(alerts, results, 1e9 + count * STEP_SECONDS, observed=True)
        # Each step may as well be the first of a process that was started again.
        alerts = alerts_from_json(alerts_to_json(alerts))
        firing = [each for each in alerts.values() if each.state is AlertState.FIRING]
        yield [(each.rule, dict(each.labels), dict(each.annotations)) for each in firing]


def case_of(rules: RuleSet, phases: tuple[list[Phase], ...]) -> tuple[dict[str, Any], Counter[str]]:
    """One promtool test over all endpoints, and how many alerts of which rule it expects."""
    scopes = [rules.of_scope("server")] * 3 + [rules.of_scope("self")]
    each_steps = [steps_of(endpoint, its) for endpoint, its in enumerate(phases)]
    found = [list(ours(scope, steps)) for scope, steps in zip(scopes, each_steps, strict=True)]
    tests, fired = [], Counter[str]()
    for count in range(STEPS):
        firing = [alert for endpoint in found for alert in endpoint[count]]
        fired.update(name for name, _, _ in firing)
        for rule in rules.rules:
            alerts = [
                {"exp_labels": labels, "exp_annotations": annotations}
                for name, labels, annotations in firing
                if name == rule.name
            ]
            at = f"{count * STEP_SECONDS}s"
            tests.append({"eval_time": at, "alertname": rule.name, "exp_alerts": alerts})
    inputs = [each for steps in each_steps for each in series_of(steps)]
    test = {"interval": f"{STEP_SECONDS}s", "input_series": inputs, "alert_rule_test": tests}
    return test, fired


def compare(folder: Path, cases: list[tuple[list[Phase], ...]]) -> Counter[str]:
    """Hold our engine's alerts of every step against promtool's; how often each rule fired."""
    rules, problems = load_rules(Rules())
    assert problems == ()
    made = [case_of(RuleSet(rules), phases) for phases in cases]
    texts = list(shipped_rule_texts().values())
    groups = "\n".join(text.partition("\ngroups:\n")[2] for text in texts)
    tests = [test for test, _ in made]
    # `rules test` reads the same files, and must agree with promtool about them too.
    step = f"{STEP_SECONDS}s"
    assert failures({"evaluation_interval": step, "tests": tests[:1]}, rules) == []
    done = run_promtool(folder, f"groups:\n{groups}", tests, f"{STEP_SECONDS}s")
    assert done.returncode == 0, (done.stdout + done.stderr)[:8000]
    return sum((fired for _, fired in made), Counter())


@pytest.mark.slow(15)
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # A case is large and its evaluation dear: what promtool says of it is better than a small one.
    phases=[Stage.explicit, Stage.reuse, Stage.generate],
)
@given(cases=CASES)
def test_every_rule_fires_alike_through_time(tmp_path, cases):
    compare(tmp_path, cases)


def test_every_shipped_rule_is_seen_to_fire_and_to_end(tmp_path):
    """The same with fixed seeds, so that no rule is left out by chance."""
    cases = []
    for seed in range(8):
        draw = seeded(seed)
        kinds = ["new", "new", "again", "missed", "gone"]
        cases.append(
            tuple(
                [
                    Phase(draw.choice(kinds), draw.randint(1, 14), draw.randint(0, 10_000))
                    for _ in range(6)
                ]
                for _ in range(4)
            )
        )
    fired = compare(tmp_path, cases)
    assert set(fired) == {rule.name for rule in load_rules(Rules())[0]}
