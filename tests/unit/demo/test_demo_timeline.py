from __future__ import annotations

import pytest

from exporter.demo.report import verdict_sentences
from exporter.demo.timeline import Timeline, Verdict

CURVE = tuple((100.0 + held / 2.5, held) for held in range(9, 98))


def timeline(paged_at: float | None, refused_at: float | None) -> Timeline:
    return Timeline(began=100.0, usable=97, curve=CURVE, paged_at=paged_at, refused_at=refused_at)


@pytest.mark.parametrize(
    ("paged_at", "refused_at", "verdict", "lead"),
    [
        (118.0, 134.0, Verdict.PAGED_FIRST, 16.0),
        (135.0, 134.0, Verdict.PAGED_LATE, -1.0),
        (134.0, 134.0, Verdict.PAGED_LATE, 0.0),
        (None, 134.0, Verdict.NOT_PAGED, None),
        (None, None, Verdict.NOT_PAGED, None),
        (118.0, None, Verdict.NOT_REFUSED, None),
        (99.0, 134.0, Verdict.FALSE_ALARM, 35.0),
    ],
)
def test_verdict_and_lead(
    paged_at: float | None, refused_at: float | None, verdict: Verdict, lead: float | None
) -> None:
    seen = timeline(paged_at, refused_at)
    assert seen.verdict is verdict
    assert seen.lead == lead


def test_marks_are_of_the_usable_slots() -> None:
    seen = timeline(None, None)
    assert seen.reached(0.70) == 100.0 + 68 / 2.5
    assert seen.reached(0.85) == 100.0 + 83 / 2.5
    assert seen.reached(1.01) is None


def test_slots_taken_at_a_time_are_those_of_the_change_before() -> None:
    seen = timeline(None, None)
    assert seen.used(100.0) == 0
    assert seen.used(104.01) == 10
    assert seen.used(1e9) == 97


def test_events_come_in_the_order_of_time() -> None:
    events = timeline(118.0, 137.0).events
    assert [event.name for event in events] == [
        "launch begins",
        "first page",
        "70 % of the usable slots",
        "85 % of the usable slots",
        "first refused client",
    ]
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)
    assert events[1].used == 45


@pytest.mark.parametrize(
    ("paged_at", "refused_at", "sentence"),
    [
        (118.0, 134.0, "Paged 16.0 s before the first refused client."),
        (135.5, 134.0, "Paged 1.5 s after the first refused client."),
        (None, 134.0, "Nobody was paged."),
        (99.0, 134.0, "A page came before the launch began: a false alarm."),
    ],
)
def test_the_verdict_in_words(
    paged_at: float | None, refused_at: float | None, sentence: str
) -> None:
    assert verdict_sentences(timeline(paged_at, refused_at)) == [sentence]


def test_at_another_speed_the_lead_is_given_for_the_real_one_too() -> None:
    first, second = verdict_sentences(timeline(130.0, 134.0), speed=5)
    assert "Paged 4.0 s before" in first
    assert "20.0 s at the launch's own speed" in second
