"""When the poolers are asked whom they serve, and what is made of their answers."""

import asyncio
from dataclasses import replace

import pytest

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.message import describe
from exporter.alerting.notification import Situation
from exporter.alerting.pooler_message import describe_pooler
from exporter.notify import words
from exporter.poll import Attributor, Front, Scene
from exporter.poll.attribution import PERIOD_SECONDS
from exporter.snapshot.activity import Activity
from exporter.snapshot.attribution import (
    RECENT_SECONDS,
    Attributed,
    Attribution,
    HeldBackend,
    PoolSocket,
)
from exporter.sources.errors import SourceError
from tests.support.poolers import database, pool, pooled, pooler_state
from tests.support.states import failure, group, state

HELD = HeldBackend(71, 10, 20, 5.0, "shop", "app", "web", "10.0.0.7", 55_000, "active")
SOCKETS = (
    PoolSocket("S", "app", "shop", "sv_active", "10.0.0.5", 5432, "10.0.0.7", 55_000, "a", "b", 71),
    PoolSocket(
        "C", "app", "shop", "cl_active", "10.9.9.9", 40_001, ptr="b", link="a",
        application_name="checkout",
    ),
)  # fmt: skip
PENDING = Book({"idle": Alert("Idle", {}, AlertState.PENDING, 1.0, None, 1.0)})
FOUND = Attribution(71, 5.0, "active", "pgb", "checkout", "app", "shop", "10.9.9.9", 40_001)


class Endpoint:
    """A server or a pooler that answers as it is told, and counts who asks."""

    def __init__(self, *answer, failed=False):
        self.answer = answer
        self.failed = failed
        self.asked = 0

    async def held(self):
        self.asked += 1
        if self.failed:
            raise SourceError(failure())
        return self.answer

    sockets = held


class Rounds:
    """An attributor, what it told, and a clock that a test sets."""

    def __init__(self, server, *poolers, books=(PENDING,), seconds=5.0, addresses=True, soon=9.0):
        idle = group(
            state="idle in transaction", transaction_age_seconds=seconds, state_age_seconds=seconds
        )
        snapshot = pooled(databases=(database(),))
        fronts = tuple(
            Front(name, each, snapshot, ("10.0.0.5:5432",))
            for name, each in zip(("pgb", "pgb-2"), poolers, strict=False)
        )
        scene = Scene(server, fronts, Activity(1000.0, (idle,)), books, addresses, soon)
        self.now = 1000.0
        self.told: list[Attributed] = []
        self.attributor = Attributor(lambda: scene, self.told.append, lambda: self.now)

    def turn(self):
        asyncio.run(self.attributor.turn())

    def ask(self):
        asyncio.run(self.attributor.ask())


def test_a_round_while_an_alert_is_pending():
    server, pooler = Endpoint(HELD), Endpoint(*SOCKETS)
    rounds = Rounds(server, pooler)
    rounds.turn()
    assert rounds.told == [Attributed(1000.0, (FOUND,))]
    assert (server.asked, pooler.asked) == (2, 1), "once, between two readings"


@pytest.mark.parametrize("changes", [{"books": (Book(),)}, {"seconds": 0.5}])
def test_nobody_is_asked_without_need(changes):
    server, pooler = Endpoint(HELD), Endpoint(*SOCKETS)
    rounds = Rounds(server, pooler, **changes)
    rounds.turn()
    assert (rounds.told, server.asked, pooler.asked) == ([], 0, 0)
    rounds.ask()
    assert len(rounds.told) == 1, "but who asks is answered"


def test_an_alert_that_fires_at_once_is_expected():
    rounds = Rounds(Endpoint(HELD), Endpoint(*SOCKETS), books=(Book(),), soon=5.0)
    rounds.turn()
    assert len(rounds.told) == 1


def test_a_pooler_is_asked_once_a_minute():
    pooler = Endpoint(*SOCKETS)
    rounds = Rounds(Endpoint(HELD), pooler)
    rounds.turn()
    rounds.now += PERIOD_SECONDS - 1
    rounds.turn()
    rounds.ask()
    assert pooler.asked == 1
    rounds.now += 1
    rounds.turn()
    assert pooler.asked == 2


def test_a_server_that_holds_nobody_costs_the_poolers_nothing():
    server, pooler = Endpoint(), Endpoint(*SOCKETS)
    rounds = Rounds(server, pooler)
    rounds.turn()
    server.answer = (HELD,)
    rounds.turn()
    assert (pooler.asked, len(rounds.told)) == (1, 1), "and the minute has not begun"


def test_a_pooler_that_does_not_answer_is_named_and_the_other_is_believed():
    rounds = Rounds(Endpoint(HELD), Endpoint(*SOCKETS), Endpoint(failed=True))
    rounds.turn()
    assert rounds.told == [Attributed(1000.0, (FOUND,), ("pgb-2",))]


def test_a_server_that_does_not_answer_is_asked_again():
    server = Endpoint(HELD, failed=True)
    rounds = Rounds(server, Endpoint(*SOCKETS))
    rounds.turn()
    server.failed = False
    rounds.turn()
    assert len(rounds.told) == 1


def test_addresses_are_left_out_where_they_are_not_to_be_known():
    rounds = Rounds(Endpoint(HELD), Endpoint(*SOCKETS), addresses=False)
    rounds.turn()
    ((found,),) = (each.found for each in rounds.told)
    assert (found.application_name, found.client_addr, found.client_port) == ("checkout", "", None)


def test_a_page_says_who_while_it_is_news():
    held = group(state="active", transaction_age_seconds=5.0)
    seen = state(held, attributed=Attributed(1000.0, (FOUND,)))
    late = replace(FOUND, seen_seconds=RECENT_SECONDS)
    assert describe(seen, None, 1000.0).behind == (FOUND,)
    assert describe(seen, None, 1000.0 + RECENT_SECONDS).behind == (late,)
    assert describe(seen, None, 1001.0 + RECENT_SECONDS).behind == ()


@pytest.mark.parametrize(("oldest", "pids"), [(15.0, [71, 72]), (12.0, [72]), (None, [])])
def test_a_transaction_that_has_ended_is_not_told(oldest, pids):
    held = group(state="active", transaction_age_seconds=oldest)
    found = Attributed(1000.0, (FOUND, replace(FOUND, pid=72, seconds=2.0)))
    seen = state(held, group(state="idle"), taken_at=1010.0, attributed=found)
    assert [each.pid for each in describe(seen, None, 1010.0).behind] == pids


@pytest.mark.parametrize(
    ("pools", "pids"),
    [
        ((pool(sv_active=1), pool("logs")), [71, 73]),
        ((pool(), pool("logs", sv_active=1)), [72, 73]),
        ((pool(sv_active=None), pool("logs")), [71, 73]),
        ((pool(), pool("logs")), []),
    ],
)
def test_who_holds_connections_that_nobody_uses_is_not_told(pools, pids):
    doubtful = Attribution(73, 5.0, "active", "pgb-1", doubt="the ports disagree")
    found = (FOUND, replace(FOUND, pid=72, datname="logs"), doubtful)
    seen = pooler_state(*pools, attributed=Attributed(1000.0, found))
    assert [each.pid for each in describe_pooler(seen, 1001.0).behind] == pids


def test_a_poolers_page_says_who_holds_its_connections():
    both = Attributed(1000.0, (FOUND, replace(FOUND, pid=72, pooler="pgb-2")))
    seen = pooler_state(pool(sv_active=1), pooler="pgb-2", attributed=both.of("pgb-2"))
    assert [each.pid for each in describe_pooler(seen, 1001.0).behind] == [72]


def test_the_line_of_a_page():
    def line(found, *, addresses=True):
        return words.behind_lines(Situation(behind=(found,)), words.as_is, addresses=addresses)[0]

    assert line(FOUND) == "pid 71, 5 s, by pgb: checkout (app on shop), from 10.9.9.9 port 40001"
    assert line(replace(FOUND, seen_seconds=40.0)).startswith("pid 71, 5 s (40 s ago), by pgb: ")
    assert line(FOUND, addresses=False) == "pid 71, 5 s, by pgb: checkout (app on shop)"
    local = replace(FOUND, client_addr="unix", client_port=None)
    assert line(local) == "pid 71, 5 s, by pgb: checkout (app on shop), from unix"
    doubtful = Attribution(71, 5.0, "active", "pgb", doubt="the ports disagree")
    assert line(doubtful) == "pid 71, 5 s, by pgb: unknown; the ports disagree"
