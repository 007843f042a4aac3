from __future__ import annotations

import io

import pytest
from rich.console import Console

from exporter.demo.receiver import Received
from exporter.demo.report import print_report
from exporter.demo.timeline import Event, Timeline
from exporter.demo.view import Frame, LiveView, PlainView, bar, picture, view_for
from exporter.demo.watcher import Reading, child_environment, local_url, reading

SEEN = Reading(used=69, usable=97, used_ratio=0.711, forecast_seconds=12.4, up=True)


def frame(seconds: float = 12.0, *, seen: Reading = SEEN, used: int = 69) -> Frame:
    return Frame(
        seconds=seconds,
        ramp_seconds=90.0,
        used=used,
        usable=97,
        held=used - 1,
        wanted=used + 5,
        refusals=11,
        reading=seen,
        events=(Event(0.0, "launch begins", 9), Event(11.9, "first page", 69)),
    )


def console(
    *, terminal: bool, width: int = 80, term: str = "xterm", no_color: bool = False
) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    made = Console(
        file=out,
        width=width,
        force_terminal=terminal,
        highlight=False,
        no_color=no_color,
        _environ={"TERM": term},
    )
    return made, out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    made, out = console(terminal=False, width=width)
    made.print(picture(frame(), made))
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_the_picture_says_all_there_is() -> None:
    made, out = console(terminal=False)
    made.print(picture(frame(), made))
    text = out.getvalue()
    for part in ("69 of 97", "68 held", "6 waiting", "11 refusals", "71%", "full in 12 s"):
        assert part in text
    assert "first page" in text


@pytest.mark.parametrize(("used", "filled"), [(0, 0), (97, 38), (200, 38), (48, 20)])
def test_the_bar_is_as_full_as_the_server(used: int, filled: int) -> None:
    text = bar(used, 97, 40).plain
    assert len(text) == 40
    assert text.count("│") == 2
    assert text.count("█") == filled


def test_the_bar_of_a_terminal_without_unicode_is_ascii() -> None:
    assert bar(50, 97, 40, ascii_only=True).plain.isascii()


def test_a_server_without_usable_slots_has_an_empty_bar() -> None:
    assert "█" not in bar(3, 0, 20).plain


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Reading(), "no answer"),
        (Reading(used=69, used_ratio=0.7, up=False), "cannot poll"),
        (Reading(used=69, used_ratio=0.7, up=True), "no forecast"),
    ],
)
def test_what_pgheadroom_does_not_know_is_said(seen: Reading, words: str) -> None:
    assert words in frame(seen=seen).own_view


def test_before_the_launch_it_is_calm() -> None:
    assert frame(-3.2).phase == "calm, the launch begins in 3 s"


def test_a_terminal_gets_the_picture_and_a_log_gets_lines() -> None:
    assert isinstance(view_for(console(terminal=True)[0]), LiveView)
    assert isinstance(view_for(console(terminal=False)[0]), PlainView)
    dumb, _ = console(terminal=True, term="dumb")
    assert isinstance(view_for(dumb), PlainView)


def test_lines_come_every_few_seconds_and_events_once() -> None:
    made, out = console(terminal=False)
    with PlainView(made, every=3.0) as view:
        for tenth in range(120, 190, 2):
            view.show(frame(tenth / 10))
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if "slots used" in line]) == 3
    assert len([line for line in lines if "first page" in line]) == 1


def test_no_colour_means_none() -> None:
    coloured, with_colour = console(terminal=True)
    plain, without = console(terminal=True, no_color=True)
    for made in (coloured, plain):
        made.print(picture(frame(), made))
    assert "\x1b[31m" in with_colour.getvalue() or "\x1b[33m" in with_colour.getvalue()
    assert "\x1b[33m" not in without.getvalue()


def test_the_live_view_draws_each_frame() -> None:
    made, out = console(terminal=True)
    with LiveView(made) as view:
        view.show(frame(5.0))
        view.show(frame(6.0, used=70))
    assert "70 of 97" in out.getvalue()


def test_the_report_fits_80_columns_and_shows_both_texts() -> None:
    made, out = console(terminal=False)
    timeline = Timeline(100.0, 97, ((100.0, 9), (120.0, 60)), paged_at=118.0, refused_at=134.0)
    page = {
        "event_action": "trigger",
        "payload": {"severity": "critical", "summary": "80 of 97 [bold]not markup[/bold]"},
    }
    received = [
        Received(118.0, "pagerduty", page),
        Received(118.1, "slack", {"text": "word " * 40}),
    ]
    print_report(made, timeline, received)
    text = out.getvalue()
    assert "Paged 16.0 s before the first refused client." in text
    assert "[bold]not markup[/bold]" in text
    assert text.count("word") == 40
    assert max(map(len, text.splitlines())) <= 80


def test_a_reading_is_what_metrics_say() -> None:
    text = """# HELP pgheadroom_up Whether polls succeed.
pgheadroom_up{server="launch-demo"} 1.0
pgheadroom_connections_used{server="launch-demo"} 69.0
pgheadroom_connections_usable{server="launch-demo"} 97.0
pgheadroom_connections_used_ratio{server="launch-demo"} 0.711
pgheadroom_exhaustion_forecast_seconds{server="launch-demo",window="warning"} 99.0
pgheadroom_exhaustion_forecast_seconds{server="launch-demo",window="page"} 1.24e+01
pg_up 0
"""
    assert reading(text) == SEEN
    assert reading("") == Reading()
    assert reading("<html>\npgheadroom_up what") == Reading()


def test_nothing_of_the_environment_leads_away_from_loopback() -> None:
    environment = {
        "PATH": "/bin",
        "PGHOST": "db.example",
        "PGBOUNCER_URL": "x",
        "DATABASE_URL": "x",
        "SLACK_WEBHOOK_URL": "x",
        "HTTP_PROXY": "http://proxy:3128",
    }
    kept = child_environment(environment)
    assert set(kept) == {"PATH", "HTTP_PROXY", "NO_PROXY", "no_proxy"}
    assert kept["NO_PROXY"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:9970", "http://127.0.0.1:9970"),
        (":9970", "http://127.0.0.1:9970"),
        ("[::]:80", "http://[::1]:80"),
    ],
)
def test_the_address_that_is_asked_is_one_that_answers(listen: str, url: str) -> None:
    assert local_url(listen) == url
