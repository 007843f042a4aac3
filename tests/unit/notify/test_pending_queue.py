from __future__ import annotations

import pytest

from exporter.alerting.notification import Severity, Transition
from exporter.notify.pending import Policy, Queue, Verdict
from exporter.notify.receiver import DeliveryError, Pace, Reason
from exporter.notify.superseding import Pending
from tests.support.notifications import notification

REFUSED = DeliveryError(Reason.NETWORK, "refused")
TIMEOUT = DeliveryError(Reason.TIMEOUT, "late", ambiguous=True)
BAD = DeliveryError(Reason.PAYLOAD, "bad", permanent=True)
GONE = DeliveryError(Reason.GONE, "gone", permanent=True)


def queue(*, tells_missed: bool = False, chance: float = 1.0, per_second: float = 1e9) -> Queue:
    pace = Pace(per_second, burst=1 if per_second < 1e9 else 1000)
    return Queue(Policy(pace, tells_missed), lambda: chance)


def pending(
    id_: int, transition: Transition = Transition.OPENED, incident: str = "one", **changes
) -> Pending:
    return Pending(id_, notification(transition, incident, **changes), 0.0)


def sent(q: Queue, now: float) -> int | None:
    found = q.next(now)
    return found.id if found else None


def attempt(q: Queue) -> tuple[int, bool]:
    found = q.next(0)
    assert found is not None
    return found.id, found.minimal


def test_one_chain_goes_in_order_and_one_at_a_time():
    q = queue()
    q.add(pending(2, Transition.OPENED, "two", dedup_key="key"))
    q.add(pending(1, Transition.RESOLVED, dedup_key="key"))
    assert sent(q, 0) == 1
    assert sent(q, 0) is None
    q.delivered()
    assert sent(q, 0) == 2


def test_failure_waits_and_doubles():
    q = queue()
    q.add(pending(1))
    now = 0.0
    for wait in (1, 2, 4, 8, 16, 30, 30):
        assert sent(q, now) == 1
        q.failed(REFUSED, now)
        assert q.wake_at(now) == now + wait
        assert sent(q, now + wait - 0.01) is None
        now += wait


def test_failing_incident_does_not_hold_up_another():
    q = queue()
    q.add(pending(1, incident="a"))
    assert sent(q, 0) == 1
    q.failed(REFUSED, 0)
    q.add(pending(2, incident="b"))
    assert sent(q, 0) == 2


def test_receiver_that_is_down_is_tried_with_one_at_a_time():
    q = queue()
    for each in (1, 2, 3, 4):
        q.add(pending(each, incident=str(each)))
    for each in (1, 2):
        assert sent(q, 0) == each
        assert q.failed(REFUSED, 0)[0] is Verdict.RETRY
    assert sent(q, 1.9) is None
    assert sent(q, 2.0) == 3
    q.delivered()
    rest = []
    for _ in range(3):
        rest.append(sent(q, 2.0))
        q.delivered()
    assert set(rest) == {1, 2, 4}


def test_page_is_never_further_away_than_its_cap():
    q = queue()
    for each in range(12):
        q.add(pending(each, incident=str(each), severity=Severity.WARNING))
    now = 0.0
    for _ in range(12):
        now = q.wake_at(now) or now
        assert q.next(now) is not None
        q.failed(REFUSED, now)
    q.add(pending(99, incident="page"))
    assert sent(q, now + 29.9) is None
    assert sent(q, now + 30) == 99


def test_pages_go_first():
    q = queue()
    q.add(pending(1, incident="a", severity=Severity.WARNING))
    q.add(pending(2, incident="b"))
    assert sent(q, 0) == 2


def test_pace_is_kept():
    q = queue(per_second=1.0)
    q.add(pending(1, incident="a"))
    q.add(pending(2, incident="b"))
    assert sent(q, 0) == 1
    q.delivered()
    assert q.wake_at(0) == 1.0
    assert sent(q, 0.9) is None
    assert sent(q, 1.0) == 2


def test_retry_after_holds_the_whole_receiver():
    q = queue(chance=0.0)
    q.add(pending(1, incident="a"))
    sent(q, 0)
    q.failed(DeliveryError(Reason.RATE_LIMITED, "slow down", retry_after=7), 0)
    q.add(pending(2, incident="b"))
    assert sent(q, 6.9) is None
    assert sent(q, 7) == 2


def test_payload_error_is_sent_once_more_without_extras_and_then_given_up():
    q = queue()
    q.add(pending(1))
    assert attempt(q) == (1, False)
    assert q.failed(BAD, 0) == (Verdict.RETRY, ())
    assert attempt(q) == (1, True)
    assert q.failed(BAD, 0) == (Verdict.DEAD, ())
    assert len(q) == 0


def test_receiver_that_is_gone_means_dead_at_once():
    q = queue()
    q.add(pending(1))
    q.next(0)
    assert q.failed(GONE, 0) == (Verdict.DEAD, ())


@pytest.mark.parametrize(("error", "kept"), [(TIMEOUT, 1), (REFUSED, 0)])
def test_resolve_that_comes_during_an_attempt(error, kept):
    q = queue()
    q.add(pending(1))
    q.next(0)
    assert q.add(pending(2, Transition.RESOLVED)) == ()
    _, dropped = q.failed(error, 0)
    assert len(q) == kept
    assert dropped == ((1,) if kept else (1, 2))


def test_too_old_is_taken_out():
    q = queue()
    q.add(pending(1))
    assert q.next(0)
    q.failed(DeliveryError(Reason.RATE_LIMITED, "slow down", retry_after=1e6), 0)
    assert q.wake_at(10) == 86_400
    assert q.expired(86_399) == ()
    assert [each.id for each in q.expired(86_400)] == [1]
    assert q.oldest() is None
