"""What mutes an alert: silences, mutes by the clocks of a time zone, other alerts."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerting.muting import EXHAUSTION, Around, Muting, covers, holds
from exporter.alerting.silences import (
    SilenceState,
    remembered,
    requested,
    silences_from_json,
    silences_to_json,
)
from exporter.config.alerting import Matcher
from exporter.config.muting import DEFAULT_INHIBITIONS, Inhibition, Mute, MuteTimes
from exporter.rules.load import shipped_rule_texts

NOW = 1_700_000_000.0


def labels(alertname="PostgresConnectionsHigh", server="prod", **others):
    return {"alertname": alertname, "server": server, "family": "connections",
            "severity": "warning", **others}  # fmt: skip


def silence(*matchers, **changes):
    asked = {"matchers": matchers, "author": "ann", "comment": "deploy", "duration": "30m"}
    return requested(asked | changes, "1f09", NOW)


def reason(found, *silences, muting=None, now=NOW, firing=()):
    return (muting or Muting()).reason(found, Around(silences, firing), now)


def test_a_silence_mutes_what_meets_all_its_matchers_until_it_ends():
    made = silence('server="prod"', 'alertname=~"Postgres.*"')
    assert reason(labels(), made) == "silence 1f09"
    assert reason(labels(server="other"), made) == ""
    assert reason(labels("PoolSaturated"), made) == ""
    assert reason(labels(), made, now=NOW + 1799) == "silence 1f09"
    assert reason(labels(), made, now=NOW + 1800) == ""
    assert made.state(NOW + 1800) is SilenceState.EXPIRED


def test_a_silence_may_begin_later():
    begins = datetime.fromtimestamp(NOW + 60, UTC)
    made = silence('server="prod"', starts_at=begins.isoformat())
    assert made.state(NOW) is SilenceState.PENDING
    assert reason(labels(), made) == ""
    assert reason(labels(), made, now=NOW + 60) == "silence 1f09"
    assert made.ends_at == NOW + 60 + 1800


@pytest.mark.parametrize("name", sorted(EXHAUSTION))
def test_exhaustion_is_silenced_only_by_its_name(name):
    found = labels(name, severity="critical")
    for broad in ('server="prod"', 'alertname=~".*"', f'alertname=~"{name}.*"', 'family!="x"'):
        assert reason(found, silence('server="prod"', broad)) == ""
    for exact in (f'alertname="{name}"', f'alertname=~"PostgresConnectionsHigh|{name}"'):
        assert reason(found, silence('server="prod"', exact)) == "silence 1f09"


def test_the_forecast_of_a_deploy_can_be_silenced():
    found = labels("PostgresExhaustionForecast", severity="critical")
    assert reason(found, silence('alertname="PostgresExhaustionForecast"')) == "silence 1f09"
    assert reason(found, silence('server="prod"')) == "silence 1f09"


def test_what_is_called_exhaustion_is_in_the_shipped_pack():
    rules = {
        rule["alert"]: rule["labels"]
        for text in shipped_rule_texts().values()
        for group in yaml.safe_load(text)["groups"]
        for rule in group["rules"]
    }
    for name in EXHAUSTION:
        assert rules[name] == {"severity": "critical", "family": "connections"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"author": ""}, "author"),
        ({"comment": ""}, "comment"),
        ({"matchers": []}, "matchers"),
        ({"matchers": ["prod"]}, "is not a matcher"),
        ({"matchers": ['a=~"("']}, "is not a regular expression"),
        ({"matchers": ['a=~".*"', 'b!="x"']}, "at least one must ask"),
        ({"duration": None}, "a silence must end"),
        ({"ends_at": "2033-01-01T00:00:00Z"}, "give either duration"),
        ({"duration": None, "ends_at": "2023-01-01T00:00:00Z"}, "over before it begins"),
        ({"duration": None, "ends_at": "2033-01-01T00:00:00"}, "timezone"),
        ({"duration": "long"}, "is not a duration"),
        ({"for": "ever"}, "unknown key"),
    ],
)
def test_a_silence_without_an_author_a_comment_and_an_end_is_refused(changes, said):
    asked = {"matchers": ['server="prod"'], "author": "ann", "comment": "x", "duration": 60}
    with pytest.raises(ValueError, match=said):
        requested({k: v for k, v in (asked | changes).items() if v is not None}, "1", NOW)


@pytest.mark.parametrize("raw", [None, [], "x", 3])
def test_a_request_that_is_no_object_is_refused(raw):
    with pytest.raises(ValueError, match=r".+"):
        requested(raw, "1", NOW)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(deadline=None)
@given(TEXT, TEXT, st.sampled_from(["=", "!=", "=~", "!~"]))
def test_silences_survive_a_restart(value, author, operator):
    if operator in ("=~", "!~"):
        value = value.translate({ord(c): "x" for c in r"\()[]{}*+?|^$."})
    written = Matcher(label="env", operator=operator, value=value)
    made = silence('server="prod"', written.text, author=author)
    assert silences_from_json(silences_to_json([made])) == ((made,), ())


@pytest.mark.parametrize("text", ["{", "[1]", '[{"id": 1}]', "null", '"x"'])
def test_a_state_that_is_none_is_named(text):
    silences, left = silences_from_json(text)
    assert silences == ()
    assert len(left) == 1


def test_a_silence_that_is_not_understood_takes_no_other_with_it():
    good = silence('server="prod"')
    kept = json.loads(silences_to_json([good, good]))
    kept[0]["matchers"] = ['k8s.io/app="x"']
    found, (left,) = silences_from_json(json.dumps(kept))
    assert found == (good,)
    assert "1f09" in left
    assert "k8s.io/app" in left


@pytest.mark.parametrize(
    "matcher", [{"label": "k8s.io/app", "operator": "=", "value": "x"}, 3, None, ["a"]]
)
def test_a_matcher_is_asked_for_as_text(matcher):
    with pytest.raises(ValueError, match=r"matchers\[0\]: write a matcher as text"):
        silence(matcher)


def test_what_is_over_is_listed_for_a_day():
    made = silence('server="prod"')
    assert remembered([made], made.ends_at + 86399) == (made,)
    assert remembered([made], made.ends_at + 86400) == ()


def times(*spans, weekdays=("mon-sun",), timezone="Europe/Berlin"):
    return MuteTimes(weekdays=weekdays, times=spans, timezone=timezone)


def berlin(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("at", "held"),
    [
        ("2026-03-06 21:59", False),  # a Friday
        ("2026-03-06 22:00", True),
        ("2026-03-07 05:59", True),  # the night of Friday
        ("2026-03-07 06:00", False),
        ("2026-03-07 23:00", False),  # Saturday is none of the days
        ("2026-03-09 03:00", False),  # the night of Sunday
    ],
)
def test_a_night_belongs_to_the_day_it_begins_on(at, held):
    assert holds(times("22:00-06:00", weekdays=("mon-fri",)), berlin(at)) is held


@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-10-25"])
def test_clocks_that_change_are_followed(day):
    noon = times("12:00-13:00")
    assert holds(noon, berlin(f"{day} 12:30"))
    assert not holds(noon, berlin(f"{day} 13:30"))
    assert not holds(noon, berlin(f"{day} 11:30"))


YEARS = st.integers(int(berlin("2025-01-01 00:00")), int(berlin("2027-01-01 00:00")))


def span(begin, end):
    return f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


@settings(deadline=None)
@given(YEARS, st.integers(0, 1439), st.integers(1, 1439))
def test_a_time_and_its_complement_make_a_day(now, begin, length):
    end = (begin + length) % 1440
    halves = span(begin, end), span(end, begin)
    assert [holds(times(half), now) for half in halves].count(True) == 1
    assert holds(times("00:00-24:00"), now)


def test_a_mute_is_a_silence_that_comes_back():
    mute = Mute(name="nightly-batch", matchers=('server="prod"',), times=(times("22:00-06:00"),))
    muting = Muting(mutes=(mute,))
    night = berlin("2026-03-06 23:00")
    assert reason(labels(), muting=muting, now=night) == "mute nightly-batch"
    assert reason(labels(), muting=muting, now=night + timedelta(hours=8).total_seconds()) == ""
    full = labels("PostgresConnectionsExhausted", severity="critical")
    assert reason(full, muting=muting, now=night) == ""


MUTING = Muting(inhibitions=DEFAULT_INHIBITIONS)
FULL = labels("PostgresWatcherRefused", severity="critical")
SPENT = labels("PostgresConnectionsExhausted", severity="critical")
AWAY = labels("PostgresServerUnreachableLong", family="reachability", severity="critical")
SLOW = labels("PoolerWaitCritical", pooler="pgb", family="pooler", severity="critical")
GONE = labels("PoolerUnreachable", pooler="pgb", family="pooler_reachability")
PAUSED = labels("PoolerPaused", pooler="pgb", family="pooler", severity="critical")


@pytest.mark.parametrize(
    ("found", "source", "by"),
    [
        (AWAY, FULL, "inhibited by PostgresWatcherRefused"),
        (SLOW, FULL, "inhibited by PostgresWatcherRefused"),
        (SLOW, AWAY, "inhibited by PostgresServerUnreachableLong"),
        (GONE, AWAY, "inhibited by PostgresServerUnreachableLong"),
        (GONE, FULL, ""),
        (AWAY, SPENT, ""),
        (SLOW, SPENT, "inhibited by PostgresConnectionsExhausted"),
        (PAUSED, FULL, ""),
        (FULL, AWAY, ""),
        (AWAY, SLOW, ""),
        (SLOW, AWAY | {"server": "other"}, ""),
        (SLOW, AWAY | {"severity": "warning"}, ""),
        (AWAY, AWAY, ""),
    ],
)
def test_what_follows_from_something_that_was_told_is_not_told(found, source, by):
    assert reason(found, muting=MUTING, firing=[source, found]) == by


def test_nothing_inhibits_itself():
    pooler = ('family="pooler"',)
    muting = Muting(inhibitions=(Inhibition(source=pooler, target=pooler),))
    assert reason(SLOW, muting=muting, firing=[SLOW]) == ""
    assert reason(SLOW, muting=muting, firing=[SLOW, PAUSED]) == "inhibited by PoolerPaused"


def test_only_exhaustion_needs_its_name():
    (name, *_) = sorted(EXHAUSTION)
    assert covers((Matcher.model_validate('server="prod"'),), labels())
    assert not covers((Matcher.model_validate('server="prod"'),), labels(name))
