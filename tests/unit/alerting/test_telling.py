"""An hour of flapping in milliseconds: what one receiver is told, by a simulated clock."""

from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerting.notification import Severity, Transition
from exporter.alerting.routing import Manner
from exporter.alerting.telling import (
    DAMPING_SECONDS,
    FLAPPING_OPENINGS,
    HOLD_SECONDS,
    RELAPSE_SECONDS,
    Firing,
    Telling,
    advance,
    telling_from,
)

CHAT = Manner(chat=True, critical=1800.0, other=14400.0)
PAGER = Manner(critical=7200.0, other=7200.0)
INFO, WARNING, CRITICAL = Severity
OPENED, ESCALATED = Transition.OPENED, Transition.ESCALATED
DEESCALATED, RESOLVED = Transition.DEESCALATED, Transition.RESOLVED
REPEATED = Transition.REPEATED
BEGIN = 1000.0


class Receiver:
    """Told of one incident; `heard` is (seconds, transition, severity, flapping)."""

    def __init__(self, manner=CHAT):
        self.manner = manner
        self.known = Telling()
        self.now = BEGIN
        self.heard = []

    def at(self, seconds, due=None, audible="as due"):
        self.now = BEGIN + seconds
        audible = due if audible == "as due" else audible
        return self.hear(Firing(due, audible, due if _rank(audible) < _rank(due) else None))

    def kept(self, seconds, due, audible=None, muted=None):
        """What is `due` is only kept firing; `audible` and `muted` hold beside it."""
        self.now = BEGIN + seconds
        return self.hear(Firing(due, audible, muted, lapsed=due))

    def hear(self, firing):
        seconds = self.now - BEGIN
        self.known, news = advance(self.known, firing, self.manner, self.now)
        if news is not None:
            self.heard.append((seconds, news.transition, news.severity, news.flapping))
        return news and (news.transition, news.severity)

    def quiet(self, seconds, due=None):
        """Evaluate every ten seconds until `seconds` have passed."""
        first = int(self.now - BEGIN)
        for second in range(first + 10, first + int(seconds) + 1, 10):
            self.at(second, due)


def flap(receiver, severity, seconds=3600, period=10):
    for second in range(0, seconds, period):
        receiver.at(second, severity if (second // period) % 2 == 0 else None)
    return [each[1] for each in receiver.heard]


def test_an_isolated_incident_is_told_as_it_comes_and_goes():
    slack = Receiver()
    assert slack.at(0, WARNING) == (OPENED, WARNING)
    assert slack.at(2, CRITICAL) == (ESCALATED, CRITICAL)
    assert slack.at(60, WARNING) == (DEESCALATED, WARNING)
    assert slack.at(61) == (RESOLVED, WARNING)


def test_an_hour_of_flapping_is_a_handful_of_messages_in_a_chat():
    slack = Receiver()
    assert flap(slack, WARNING) == [OPENED, RESOLVED, OPENED]
    assert slack.heard[-1][3], "the last one says that it flaps"
    slack.quiet(HOLD_SECONDS - 20)
    assert len(slack.heard) == 3
    slack.quiet(60)
    assert slack.heard[-1][1] is RESOLVED
    assert len(slack.heard) == 4


def test_slow_flapping_is_held_too():
    slack = Receiver()
    flap(slack, WARNING, seconds=3600, period=400)
    slack.quiet(3600)
    assert [each[1] for each in slack.heard] == [OPENED, RESOLVED] * 3 + [OPENED, RESOLVED]
    assert slack.heard[-2][3]
    assert slack.heard[-1][0] >= slack.heard[-2][0] + HOLD_SECONDS


def test_a_relapse_within_five_minutes_waits_in_a_chat_unless_it_is_critical():
    slack = Receiver()
    slack.at(0, WARNING)
    slack.at(10)
    assert slack.at(20, WARNING) is None
    assert slack.at(10 + DAMPING_SECONDS - 1, WARNING) is None
    assert slack.at(10 + DAMPING_SECONDS, WARNING) == (OPENED, WARNING)
    slack.at(400)
    assert slack.at(410, CRITICAL) == (ESCALATED, CRITICAL)


def test_a_critical_pages_each_time_until_it_flaps_and_then_under_the_key_that_is_open():
    pager = Receiver(PAGER)
    transitions = flap(pager, CRITICAL)
    assert transitions[:7] == [OPENED, RESOLVED] * 3 + [OPENED]
    assert pager.heard[6][3]
    relapses = pager.heard[7:]
    assert {each[1] for each in relapses} == {REPEATED}
    assert len(relapses) > 40, "somebody who closed the alert by hand is paged again"
    times = [each[0] for each in pager.heard[6:]]
    assert all(later - sooner >= RELAPSE_SECONDS for sooner, later in pairwise(times))
    pager.quiet(HOLD_SECONDS + 20)
    assert pager.heard[-1][1] is RESOLVED


@pytest.mark.parametrize(
    ("manner", "severity", "every"),
    [(CHAT, CRITICAL, 1800), (CHAT, WARNING, 14400), (PAGER, CRITICAL, 7200)],
)
def test_what_stays_open_is_repeated(manner, severity, every):
    receiver = Receiver(manner)
    receiver.at(0, severity)
    receiver.quiet(2 * every + 10, severity)
    assert [(each[0], each[1]) for each in receiver.heard] == [
        (0, OPENED),
        (every, REPEATED),
        (2 * every, REPEATED),
    ]


def test_the_time_of_the_last_message_counts_for_the_next_repeat():
    slack = Receiver()
    slack.at(0, WARNING)
    slack.at(1700, CRITICAL)
    assert slack.at(1810, CRITICAL) is None
    assert slack.at(1700 + 1800, CRITICAL) == (REPEATED, CRITICAL)


def test_nothing_is_repeated_while_nothing_fires():
    pager = Receiver(PAGER)
    flap(pager, CRITICAL, 80)
    count = len(pager.heard)
    pager.quiet(HOLD_SECONDS - 30)
    assert len(pager.heard) == count


def test_what_is_muted_is_not_opened_and_told_at_once_when_nothing_mutes_it_any_more():
    slack = Receiver()
    assert slack.at(0, CRITICAL, None) is None
    assert slack.at(60, CRITICAL, None) is None
    assert slack.at(61, CRITICAL) == (OPENED, CRITICAL)


def test_what_was_told_before_it_was_muted_is_told_again_when_the_mute_ends():
    for manner in (PAGER, CHAT):
        receiver = Receiver(manner)
        receiver.at(0, CRITICAL)
        assert receiver.at(10, CRITICAL, None) is None
        assert receiver.at(20, CRITICAL) == (REPEATED, CRITICAL)
        assert receiver.at(30, CRITICAL) is None


def test_what_is_muted_is_not_repeated_either():
    pager = Receiver(PAGER)
    pager.at(0, CRITICAL)
    for second in range(10, 20_000, 10):
        assert pager.at(second, CRITICAL, None) is None
    assert pager.at(20_000, CRITICAL) == (REPEATED, CRITICAL)


def test_a_critical_that_is_muted_after_it_was_told_does_not_become_a_warning():
    slack = Receiver()
    slack.at(0, CRITICAL)
    assert slack.at(10, CRITICAL, WARNING) is None
    assert slack.at(20, CRITICAL) == (REPEATED, CRITICAL)
    slack.at(30, CRITICAL, WARNING)
    assert slack.at(40, WARNING) == (DEESCALATED, WARNING)


def test_the_end_of_what_was_told_is_told_although_it_is_muted():
    pager = Receiver(PAGER)
    pager.at(0, CRITICAL)
    pager.at(10, CRITICAL, None)
    assert pager.at(20) == (RESOLVED, CRITICAL)


def test_a_muted_critical_does_not_escalate_an_audible_warning():
    slack = Receiver()
    assert slack.at(0, WARNING) == (OPENED, WARNING)
    assert slack.at(10, CRITICAL, WARNING) is None
    assert slack.at(20, WARNING, WARNING) is None, "the warning was told before"
    assert slack.at(30, CRITICAL, WARNING) is None
    assert slack.at(40, CRITICAL) == (ESCALATED, CRITICAL)


def test_what_is_only_kept_firing_opens_and_raises_nothing():
    slack = Receiver()
    assert slack.kept(0, CRITICAL) is None
    assert slack.kept(10, CRITICAL, audible=WARNING) == (OPENED, WARNING)
    assert slack.kept(20, CRITICAL) is None
    assert slack.at(30) == (RESOLVED, WARNING)


def test_what_a_mute_hid_from_beginning_to_end_is_never_told():
    pager = Receiver(PAGER)
    pager.at(0, CRITICAL, None)
    assert pager.kept(10, CRITICAL) is None
    assert pager.at(310) is None


def test_a_fall_is_told_when_nothing_is_kept_firing_over_it_and_the_rest_still_holds():
    slack = Receiver()
    slack.at(0, CRITICAL)
    assert slack.kept(10, CRITICAL, audible=WARNING) is None
    assert slack.at(310, WARNING) == (DEESCALATED, WARNING)


def test_a_fall_to_what_is_only_kept_firing_is_not_told():
    slack = Receiver()
    slack.at(0, CRITICAL)
    slack.kept(10, CRITICAL)
    assert slack.kept(300, WARNING) is None
    assert slack.at(310) == (RESOLVED, CRITICAL)


def test_what_is_only_kept_firing_is_not_repeated():
    pager = Receiver(PAGER)
    pager.at(0, CRITICAL)
    for second in range(10, 20_000, 10):
        assert pager.kept(second, CRITICAL, audible=WARNING) is None


def test_what_comes_back_while_it_is_kept_firing_is_no_news():
    for beside in (None, WARNING):
        slack = Receiver()
        slack.at(0, CRITICAL)
        slack.kept(10, CRITICAL, audible=beside)
        assert slack.at(20, CRITICAL) is None


def test_what_flickers_beside_something_muted_is_told_once():
    for receiver in (Receiver(), Receiver(PAGER)):
        receiver.hear(Firing(CRITICAL, audible=CRITICAL, muted=CRITICAL))
        for second in range(3, 60, 6):
            receiver.kept(second, CRITICAL, muted=CRITICAL)
            receiver.now += 3
            receiver.hear(Firing(CRITICAL, audible=CRITICAL, muted=CRITICAL))
        assert [each[1] for each in receiver.heard] == [OPENED]


def test_what_comes_back_after_a_mute_that_ended_meanwhile_is_told_again():
    slack = Receiver()
    slack.at(0, CRITICAL)
    slack.at(10, CRITICAL, None)
    assert slack.kept(20, CRITICAL) is None
    assert slack.at(30, CRITICAL) == (REPEATED, CRITICAL)


def test_a_receiver_that_is_not_configured_any_more_is_told_at_once():
    pager = Receiver(PAGER)
    flap(pager, CRITICAL, 200)
    pager.manner = None
    assert pager.at(201) == (RESOLVED, CRITICAL)
    assert not pager.known.matters(pager.now, None)


def test_a_clock_that_was_ahead_before_a_restart_holds_nothing_back():
    slack = Receiver()
    for second in (100_000, 100_010, 100_020):
        slack.at(second, WARNING if second != 100_010 else None)
    slack.known = telling_from(asdict(slack.known))
    slack.at(0, WARNING)
    assert slack.at(DAMPING_SECONDS, WARNING) == (OPENED, WARNING)


def test_an_hour_after_the_end_nothing_is_remembered():
    slack = Receiver()
    flap(slack, WARNING, 100)
    slack.quiet(HOLD_SECONDS + 3700)
    assert not slack.known.matters(slack.now, CHAT)


SEVERITIES = st.sampled_from([None, INFO, WARNING, CRITICAL])


@st.composite
def histories(draw):
    """(seconds to the next evaluation, what fires then) through something like an hour."""
    step = st.tuples(st.integers(1, 400), SEVERITIES, SEVERITIES, SEVERITIES)
    return [
        (seconds, Firing(due, min(due, audible, key=_rank), min(due, muted, key=_rank)))
        for seconds, due, audible, muted in draw(st.lists(step, max_size=60))
    ]


def _rank(severity):
    return -1 if severity is None else severity.rank


@settings(max_examples=300, deadline=None)
@given(histories(), st.sampled_from([CHAT, PAGER, Manner(), None]))
def test_a_receiver_is_told_the_truth_in_order_and_in_the_end_all_of_it(history, manner):
    receiver, seconds, believed = Receiver(manner), 0, None
    for wait, firing in history:
        seconds += wait
        news = receiver.kept(seconds, firing.due, firing.audible, firing.muted)
        if news is None:
            continue
        transition, severity = news
        if transition is RESOLVED:
            assert believed is not None
            assert firing.due is None
            believed = None
            continue
        assert _rank(firing.audible) >= _rank(severity), "what is muted or over is not told"
        expected = {
            OPENED: believed is None,
            ESCALATED: believed is not None and severity.rank > believed.rank,
            DEESCALATED: believed is not None and severity.rank < believed.rank,
            REPEATED: severity is believed,
        }
        assert expected[transition], (transition, believed)
        believed = severity
    assert receiver.known == telling_from(asdict(receiver.known))
    receiver.quiet(HOLD_SECONDS + DAMPING_SECONDS + 20)
    opened = sum(each[1] is OPENED for each in receiver.heard)
    assert opened == sum(each[1] is RESOLVED for each in receiver.heard)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 120), SEVERITIES), max_size=200))
def test_a_chat_hears_at_most_once_in_five_minutes_once_an_incident_came_back(history):
    receiver, seconds = Receiver(), 0
    for wait, due in history:
        seconds += wait
        receiver.at(seconds, due)
    openings = 0
    for sooner, later in pairwise(receiver.heard):
        openings += sooner[1] is OPENED
        urgent = later[1] in (OPENED, ESCALATED) and later[2] is CRITICAL
        isolated = openings <= 1
        assert urgent or isolated or later[0] - sooner[0] >= DAMPING_SECONDS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 600), st.booleans()), min_size=20, max_size=200))
def test_a_critical_that_begins_is_never_unknown_to_a_pager(history):
    pager, seconds = Receiver(PAGER), 0
    for wait, critical in history:
        seconds += wait
        pager.at(seconds, CRITICAL if critical else None)
        if critical:
            assert pager.known.severity is CRITICAL
    hour = 3600
    for opened in (each[0] for each in pager.heard if each[1] is OPENED):
        within = [each for each in pager.heard if each[1] is OPENED
                  and opened <= each[0] < opened + hour]  # fmt: skip
        assert len(within) <= FLAPPING_OPENINGS + 2
