import math

from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from exporter.metrics.families import Builder, render

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.floats() | st.integers(-(10**9), 10**18).map(float)
LABELS = st.dictionaries(st.sampled_from(["datname", "state", "le_", "a"]), TEXTS)
SAMPLES = st.lists(st.tuples(LABELS, VALUES), max_size=4)
ODD = 'back\\slash "quoted"\nnew line'


class Fixed:
    def __init__(self, families):
        self._families = families

    def collect(self):
        return self._families


def by_the_library(families):
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Fixed(families))
    return generate_latest(registry)


@example(samples=[({"datname": ODD}, math.nan), ({}, math.inf)], documentation=ODD)
@given(samples=SAMPLES, documentation=TEXTS)
def test_it_is_what_the_library_writes(samples, documentation):
    for constant in ({}, {"server": "prod"}):
        builder = Builder(**constant)
        for labels, value in samples:
            builder.gauge("pgheadroom_gauge", documentation, value, **labels)
            builder.counter("pgheadroom_things_total", documentation, value, **labels)
            builder.untyped("pg_odd", documentation, value, **labels)
        builder.histogram("pgheadroom_seconds", documentation, {0.5: 1, math.inf: 2}, 3.25)
        families = builder.build()
        assert render(families) == by_the_library(families)
