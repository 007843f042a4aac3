"""What of a series of failures is worth a line in the log."""

from __future__ import annotations

import pytest

from exporter.snapshot.failing import MOST_CHANGES, REMIND_SECONDS, Failing, News
from exporter.snapshot.server import Failure, Reason

LATE = Failure(Reason.LATE, "no answer in time")
AUTH = Failure(Reason.AUTH, "password authentication failed", "check the password")


def told(failing, failure, times):
    """The news of failing at each of the times, and when they came."""
    news = [(now, failing.failed(failure, now)) for now in times]
    return [(now, each) for now, each in news if each is not None]


def test_a_reason_is_told_once_and_then_counted():
    failing = Failing()
    every_two_seconds = [2.0 * number for number in range(301)]
    assert told(failing, LATE, every_two_seconds) == [
        (0.0, News(LATE, 1)),
        (300.0, News(LATE, 150, 300.0, reminder=True)),
        (600.0, News(LATE, 150, 300.0, reminder=True)),
    ]
    assert failing.counts == {Reason.LATE: 301}
    assert failing.since == 0.0


def test_another_reason_and_a_return_to_the_first_are_told():
    failing = Failing()
    found = [failing.failed(each, now) for now, each in enumerate((LATE, LATE, AUTH, AUTH, LATE))]
    assert found == [News(LATE, 1), None, News(AUTH, 1), None, News(LATE, 2)]
    assert failing.counts == {Reason.LATE: 3, Reason.AUTH: 2}


def test_a_success_is_told_once_and_ends_the_series():
    failing = Failing()
    assert not failing.succeeded(0.0)
    failing.failed(LATE, 1.0)
    assert failing.succeeded(2.0)
    assert not failing.succeeded(3.0)
    assert failing.since is None
    assert failing.failed(LATE, 4.0) == News(LATE, 1)
    assert failing.since == 4.0


@pytest.mark.parametrize("between", ["another reason", "success"])
def test_what_comes_and_goes_is_told_a_few_times_and_then_counted(between):
    failing, lines = Failing(), 0
    seconds = 1200
    for now in range(seconds):
        if now % 2 == 0:
            lines += failing.failed(LATE, now) is not None
        elif between == "success":
            lines += failing.succeeded(now)
        else:
            lines += failing.failed(AUTH, now) is not None
    # Twice as many as the changes: each reason's reminder comes besides.
    assert MOST_CHANGES <= lines <= 2 * MOST_CHANGES * (seconds / REMIND_SECONDS)
    assert sum(failing.counts.values()) >= seconds / 2


def test_a_reason_whose_change_was_not_told_is_told_by_and_by():
    failing = Failing()
    for now in range(MOST_CHANGES):
        failing.failed(LATE if now % 2 else AUTH, now)
    tls = Failure(Reason.TLS, "certificate verify failed")
    ((now, news),) = told(failing, tls, range(20, 400))
    assert now == 20 + REMIND_SECONDS
    assert news == News(tls, 301, 300.0, reminder=True)
