import pytest

from exporter.alerting.notification import Severity
from exporter.doctor.sizing import Workload, client_advice, figures, sizing_advice
from exporter.snapshot.slots import Limits

LIMITS = Limits(max_connections=100, superuser_reserved_connections=3, provider_reserved=7)


def value(name, work, limits=LIMITS):
    """The figure called `name`; None where there is none."""
    found = {figure.name: figure.value for figure in figures(limits, work)}
    return found.get(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("connections", 20 * 4),
        ("pool_size", 90 // 20 - 1),
        ("pool_size_textbook", 100 // 20 - 1),
        ("default_pool_size", (100 - 10) // 3),
        ("busy_connections", 8 * 2 + 1),
        ("throughput_of_an_instance", 4 / 0.005),
        ("throughput", 80 / 0.005),
        ("memory_least", 80 * 5),
        ("memory_most", 80 * 15),
        ("prisma_default", 2 * 4 + 1),
    ],
)
def test_each_formula(name, expected):
    work = Workload(20, 4, replicas=3, hold_ms=5, cores=8, spindles=1, cpus=4)
    assert value(name, work) == expected


def test_no_more_than_the_server_has_is_counted():
    work = Workload(400, 5, hold_ms=10)
    assert value("throughput", work) == 90 / 0.010
    assert value("memory_most", work) == 100 * 15


def test_what_is_not_given_makes_no_figure():
    names = {figure.name for figure in figures(LIMITS, Workload(1, 1))}
    assert not names & {"busy_connections", "throughput", "throughput_of_an_instance"}


def test_every_figure_carries_its_result_and_its_source():
    for figure in figures(LIMITS, Workload(7, 3, hold_ms=4, cores=2)):
        assert f"{figure.value:,.0f}" in figure.formula, figure
        assert figure.source.startswith("https://")


@pytest.mark.parametrize(
    ("instances", "pool", "names", "remedy"),
    [
        (15, 5, [], ""),
        (16, 5, ["instances_tight"], "give each instance a pool of 4"),
        (18, 5, ["instances_tight"], "give each instance a pool of 4"),
        (19, 5, ["instances_oversubscribed"], "give each instance a pool of 3"),
        (200, 1, ["instances_oversubscribed"], "no pool fits 200 instances"),
    ],
)
def test_instances_against_the_usable_slots(instances, pool, names, remedy):
    advice = sizing_advice(LIMITS, Workload(instances, pool))
    assert [each.name for each in advice] == names
    assert "".join(each.set for each in advice).startswith(remedy)


def test_the_pool_that_is_advised_is_not_advised_against():
    for instances in range(1, 60):
        asked = Workload(instances, 50)
        (advice, *_) = sizing_advice(LIMITS, asked) or (None,)
        if advice is not None and advice.set.startswith("give"):
            size = int(advice.set.split()[-1])
            assert sizing_advice(LIMITS, Workload(instances, size)) == (), instances


def test_behind_poolers_it_is_their_clients_that_must_fit():
    work = Workload(400, 5).behind(2)
    assert sizing_advice(LIMITS, work) == ()
    advice = client_advice(work, 1000)
    assert advice is not None
    assert (advice.severity, advice.set) == (
        Severity.CRITICAL,
        "max_client_conn = 1000 or more in each pooler",
    )
    assert client_advice(work, 2000) is None
    assert client_advice(work, None) is None, "one of them was not seen"
    assert client_advice(Workload(400, 5), 10) is None, "no pooler"
    assert Workload(1, 1, replicas=6).behind(2).replicas == 6
