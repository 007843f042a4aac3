from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerting.notification import Severity
from exporter.notify.backoff import Backoff, TokenBucket
from exporter.notify.receiver import Pace


@pytest.mark.parametrize(
    ("failures", "severity", "most"),
    [
        (1, Severity.CRITICAL, 1),
        (4, Severity.CRITICAL, 8),
        (6, Severity.CRITICAL, 30),
        (6, Severity.WARNING, 32),
        (10**6, Severity.INFO, 300),
    ],
)
def test_full_jitter_doubles_up_to_the_cap(failures, severity, most):
    assert Backoff().delay(failures, severity, 1.0) == most
    assert Backoff().delay(failures, severity, 0.0) == 0


@given(
    st.floats(0.1, 5),
    st.integers(1, 20),
    st.lists(st.floats(0, 3), max_size=60),
)
def test_no_window_holds_more_than_the_pace_allows(per_second, burst, gaps):
    bucket = TokenBucket(Pace(per_second, burst))
    now, sent = 0.0, []
    for gap in gaps:
        now = max(now + gap, bucket.ready_at(now + gap))
        bucket.take(now)
        sent.append(now)
    for first, start in enumerate(sent):
        for last in range(first, len(sent)):
            allowed = burst + per_second * (sent[last] - start)
            assert last - first + 1 <= allowed + 1e-6


def test_one_a_second_means_one_a_second():
    bucket = TokenBucket(Pace(1.0))
    assert bucket.ready_at(10.0) == 10.0
    bucket.take(10.0)
    assert bucket.ready_at(10.25) == pytest.approx(11.0)
