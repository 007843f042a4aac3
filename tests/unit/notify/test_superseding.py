from __future__ import annotations

import pytest

from exporter.alerting.notification import Transition
from exporter.notify.superseding import MISSED, Pending, supersede, told_as
from tests.support.notifications import notification


def pending(id_: int, transition: Transition, incident: str = "one", **changes) -> Pending:
    first = transition is Transition.OPENED
    made = notification(transition, incident, dedup_key="key")
    return Pending(id_, made, 0.0, **({"first": first} | changes))


def ids(*waiting: Pending, tells_missed: bool = True) -> tuple[list[int], list[int]]:
    found = supersede(waiting, tells_missed=tells_missed)
    return [each.id for each in found.kept], list(found.dropped)


def test_newest_state_of_an_incident_wins():
    chain = (
        pending(1, Transition.OPENED),
        pending(2, Transition.ESCALATED),
        pending(3, Transition.REPEATED),
    )
    assert ids(*chain) == ([3], [1, 2])


def test_pager_hears_nothing_of_what_nobody_can_have_heard_of():
    chain = (
        pending(1, Transition.OPENED),
        pending(2, Transition.ESCALATED),
        pending(3, Transition.RESOLVED),
    )
    assert ids(*chain, tells_missed=False) == ([], [1, 2, 3])


def test_channel_hears_of_it_in_one_message():
    found = supersede(
        [pending(1, Transition.OPENED), pending(2, Transition.RESOLVED)], tells_missed=True
    )
    assert [each.id for each in found.kept] == [2]
    assert told_as(found.kept[0]).headline.startswith(MISSED)


@pytest.mark.parametrize("tells_missed", [True, False])
def test_resolve_is_kept_after_an_attempt_that_may_have_succeeded(tells_missed):
    chain = (
        pending(1, Transition.OPENED, maybe_seen=True),
        pending(2, Transition.ESCALATED),
        pending(3, Transition.RESOLVED),
    )
    found = supersede(chain, tells_missed=tells_missed)
    assert [each.id for each in found.kept] == [3]
    assert told_as(found.kept[0]).headline == chain[2].notification.headline


def test_resolve_is_kept_where_the_opening_was_delivered_before():
    assert ids(
        pending(2, Transition.ESCALATED), pending(3, Transition.RESOLVED), tells_missed=False
    ) == ([3], [2])


def test_resolve_stays_before_the_next_opening_under_the_same_key():
    chain = (
        pending(1, Transition.RESOLVED),
        pending(2, Transition.OPENED, "two"),
        pending(3, Transition.ESCALATED, "two"),
    )
    assert ids(*chain) == ([1, 3], [2])


def test_an_incident_that_opens_again_and_ends_leaves_the_first_resolve():
    chain = (
        pending(1, Transition.RESOLVED),
        pending(2, Transition.OPENED),
        pending(3, Transition.RESOLVED),
    )
    assert ids(*chain, tells_missed=False) == ([1], [2, 3])


def test_tests_are_neither_replaced_nor_replace():
    chain = pending(1, Transition.TEST), pending(2, Transition.OPENED), pending(3, Transition.TEST)
    assert ids(*chain) == ([1, 2, 3], [])
