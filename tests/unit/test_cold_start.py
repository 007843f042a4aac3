"""After a start without state: what is ended at a pager, when, and what is left alone."""

from __future__ import annotations

import asyncio

import pytest

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.board import Board, Entry
from exporter.alerting.incidents import Incident, dedup_key
from exporter.alerting.message import Sender
from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Routing
from exporter.alerting.telling import Telling
from exporter.poll import ColdStart, Desk, SelfWatch
from exporter.rules.evaluate import RuleSet
from exporter.rules.model import Rule
from tests.support.states import failure, group, state

SECONDS = 300.0
RULES = RuleSet(
    Rule(name, "g", "pgheadroom_up", labels={"family": family})
    for name, family in (("A", "connections"), ("B", "connections"), ("C", "waiting"))
)
OWN = RuleSet([Rule("S", "g", "pgheadroom_state_writable", labels={"family": "state"})])


class Journal:
    def __init__(self):
        self.states = {}
        self.told = []

    async def commit(self, states, notifications):
        self.states |= states
        self.told += notifications

    def save_soon(self, key, text):
        self.states[key] = text

    def load(self, key):
        return self.states.get(key)


class Setting:
    """A cold start over a board, with a clock that the test moves."""

    def __init__(self, journal=None, seconds=SECONDS):
        self.now = 1000.0
        self.journal = journal or Journal()
        self.board = Board()
        desk = Desk(RULES, self.board, self.journal, lambda: self.now)
        own_desk = Desk(OWN, self.board, self.journal, lambda: self.now)
        own = SelfWatch(tuple, Alerter(Routing((), {}), Sender()), own_desk)
        self.cold = ColdStart(
            desk, own, own_desk, lambda: Sender("me"), lambda: ["pd"], lambda: seconds
        )

    def put(self, server, *, up=True, told=None):
        incidents = {}
        if told is not None:
            opened = Incident(server, "connections", 1.0, Severity.CRITICAL, told=told)
            incidents = {"connections": opened}
        known = state(group(), server=server, failure=None if up else failure())
        self.board.put(Entry(known, book=Book(incidents=incidents), turns=1))

    def turn(self, at):
        self.now = 1000.0 + at
        asyncio.run(self.cold.turn())

    def ended(self):
        return sorted((each.server, each.family) for _, each in self.journal.told)


def test_every_family_is_ended_once_after_the_server_was_well_for_long_enough():
    it = Setting()
    it.put("a")
    assert it.cold.begin(empty=True)
    it.turn(0)
    it.turn(SECONDS - 1)
    assert it.ended() == []
    it.turn(SECONDS)
    assert it.ended() == [("a", "connections"), ("a", "waiting"), ("pgheadroom", "state")]
    receiver, told = it.journal.told[0]
    assert (receiver, told.transition) == ("pd", Transition.RESOLVED)
    assert told.dedup_key == dedup_key("me", "a", "connections")
    assert it.cold.over
    assert not Setting(it.journal).cold.begin(empty=False)


def test_a_server_that_fails_begins_anew_and_delays_no_other():
    it = Setting()
    it.cold.begin(empty=True)
    for at, up in ((0, True), (200, False), (250, True), (400, True), (549, True)):
        it.put("a", up=up)
        it.put("b")
        it.turn(at)
    assert [server for server, _ in it.ended()] == ["b", "b", "pgheadroom"]
    it.turn(550)
    assert it.ended()[:2] == [("a", "connections"), ("a", "waiting")]


@pytest.mark.parametrize(
    ("told", "ended"),
    [
        ({"pd": Telling(Severity.CRITICAL, at=1000.0)}, ["waiting"]),
        ({"chat": Telling(Severity.WARNING, at=1000.0)}, ["connections", "waiting"]),
    ],
)
def test_what_the_pager_was_told_ends_by_itself(told, ended):
    it = Setting()
    it.put("a", told=told)
    it.cold.begin(empty=True)
    it.turn(0)
    it.turn(SECONDS)
    assert [family for server, family in it.ended() if server == "a"] == ended


def test_nothing_is_ended_while_something_muted_is_open_that_the_pager_may_know():
    it = Setting()
    it.put("a", told={"pd": Telling(due=Severity.CRITICAL)})
    it.cold.begin(empty=True)
    it.turn(0)
    it.turn(SECONDS)
    assert it.ended() == [("pgheadroom", "state")]
    it.put("a")
    it.turn(SECONDS + 5)
    assert it.ended()[:2] == [("a", "connections"), ("a", "waiting")]


def test_a_restart_in_between_does_not_lose_it_and_repeats_nothing():
    first = Setting()
    first.put("a")
    first.put("b", up=False)
    first.cold.begin(empty=True)
    first.turn(0)
    first.turn(SECONDS)
    assert not first.cold.over
    second = Setting(first.journal)
    second.put("a")
    second.put("b")
    assert second.cold.begin(empty=False)
    before = len(first.journal.told)
    second.turn(0)
    second.turn(SECONDS)
    assert [each.server for _, each in second.journal.told[before:]] == ["b", "b"]


def test_nothing_is_ended_with_a_kept_state_or_where_it_is_switched_off():
    assert not Setting().cold.begin(empty=False)
    off = Setting(seconds=None)
    off.put("a")
    off.cold.begin(empty=True)
    off.turn(0)
    off.turn(1e6)
    assert off.ended() == []


@pytest.mark.parametrize("text", ["{", "3", '{"a": 1}'])
def test_a_kept_list_that_is_not_understood_ends_everything_again(text):
    journal = Journal()
    journal.states["cold_start"] = text
    it = Setting(journal)
    it.put("a")
    assert it.cold.begin(empty=False)
    it.turn(0)
    it.turn(SECONDS)
    assert len(it.ended()) == 3
