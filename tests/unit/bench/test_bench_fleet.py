from dataclasses import replace

import pytest

from bench.fleet import Run, figures, quantile

GOOD = Run(
    servers=200, holes=0, own=0.1, postgres=0.05, memory=90.0, late=0.01, turns=2800,
    sessions=200, written=80.0, starved=0.0,
)  # fmt: skip
SMALL = replace(GOOD, servers=50, own=0.025, sessions=50)


def verdicts(*runs):
    return {figure.name.partition(": ")[2] or figure.name: figure.ok for figure in figures(runs)}


def test_a_good_fleet_meets_every_target():
    assert set(verdicts(SMALL, GOOD).values()) == {True, None}


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"own": 0.26}, "own CPU"),
        ({"postgres": 0.11}, "CPU of Postgres"),
        ({"memory": 151.0}, "resident memory"),
        ({"late": 1.1}, "p99 lateness of a turn"),
        ({"sessions": 201}, "sessions"),
        ({"holes": 50}, "sessions"),
    ],
)
def test_each_target_can_be_missed(change, name):
    found = verdicts(replace(GOOD, **change))
    assert {each for each, ok in found.items() if ok is False} == {name}


def test_growth_is_held_against_the_smallest_fleet():
    assert verdicts(replace(SMALL, own=0.02), GOOD)["growth of own CPU"] is False


def test_lateness_on_a_machine_that_others_use_is_no_verdict():
    assert verdicts(replace(GOOD, late=3.0, starved=0.2))["p99 lateness of a turn"] is None


def test_a_quantile_is_that_of_prometheus():
    buckets = {0.1: 50.0, 1.0: 100.0, float("inf"): 100.0}
    assert quantile(0.5, buckets) == pytest.approx(0.1)
    assert quantile(0.75, buckets) == pytest.approx(0.55)
    assert quantile(0.99, {0.1: 0.0, float("inf"): 10.0}) == pytest.approx(0.1)
