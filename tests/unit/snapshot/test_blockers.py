"""Who waits behind whom: chains, crowds, circles."""

from __future__ import annotations

import pytest

from exporter.snapshot.blockers import Blocker, blockers, roots


def backend(pid):
    return Blocker(pid, "app", "web", "shop", "", "active", 1.0, 1.0)


def told(waits):
    """(pid, blocked, root) of each blocker, by whom each pid waits for."""
    pids = {*waits, *(ahead for each in waits.values() for ahead in each)}
    found = blockers(map(backend, pids), waits)
    return [(each.pid, each.blocked, each.root) for each in found]


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ({}, []),
        ({2: [1]}, [(1, 1, True)]),
        # A queue: everybody waits for the one at its head, and for those in between.
        ({2: [1], 3: [2, 1], 4: [3]}, [(1, 3, True), (2, 2, False), (3, 1, False)]),
        # Two holders of one lock, and one waiter that needs both.
        ({3: [1, 2]}, [(1, 1, True), (2, 1, True)]),
        # A prepared transaction is pid 0.
        ({5: [0], 6: [0]}, [(0, 2, True)]),
        # A deadlock, for as long as deadlock_timeout lets it be.
        ({1: [2], 2: [1]}, [(1, 1, False), (2, 1, False)]),
        ({1: [2], 2: [1], 3: [1]}, [(1, 2, False), (2, 2, False)]),
    ],
)
def test_blocked_is_everybody_behind(waits, expected):
    assert told(waits) == expected


def test_roots_are_the_heads_and_in_a_circle_all():
    queue = blockers(map(backend, (1, 2, 3)), {2: [1], 3: [2]})
    assert [each.pid for each in roots(queue)] == [1]
    circle = blockers(map(backend, (1, 2)), {1: [2], 2: [1]})
    assert [each.pid for each in roots(circle)] == [1, 2]
    assert roots(()) == ()


def test_a_crowd_behind_one_is_counted_without_a_detour():
    waits = {pid: [pid - 1] for pid in range(2, 101)}
    assert told(waits)[0] == (1, 99, True)
