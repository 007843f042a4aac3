"""Two engines over one launch: a real Prometheus and pgheadroom have the same alerts firing.

In the middle the network between pgheadroom and Postgres is cut for far longer than any
`keep_firing_for`; neither engine may resolve because nobody could look.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from exporter.config.alerting import Rules
from exporter.rules.load import load_rules, shipped_rule_texts
from exporter.rules.render import render
from tests.support.line import Line
from tests.support.peers import Prometheus, get, prometheus
from tests.support.postgres import sessions
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import (
    KEEP_FIRING_SECONDS,
    Watching,
    events,
    pagerduty,
    prepare,
    watched,
    watching,
)

SLOTS = 57
#: Ten minutes at the speed at which a `keep_firing_for` of five minutes takes half a second would
#: be a second; this is twenty times that.
CUT_SECONDS = 20.0
#: The scaled rules compare with seconds that the shipped ones do not have, in these families alone.
LEVELS = ("connections",)


def firing(watch: Watching) -> set[tuple[str, str]]:
    """(alertname, severity) of what fires here, about the server."""
    text = json.loads(get(f"http://{watch.address}/api/v1/alerts") or "{}")
    found = text["data"]["alerts"]
    return {_named(each["labels"]) for each in found if each["state"] == "firing"}


def theirs(prom: Prometheus) -> set[tuple[str, str]]:
    """The same of Prometheus' own engine, and what it scraped from ours."""
    found = prom.query('ALERTS{alertstate="firing"}')
    return {_named(each["metric"]) for each in found}


def scraped(prom: Prometheus) -> set[tuple[str, str]]:
    found = prom.query('pgheadroom_alerts{alertstate="firing"}')
    return {_named(each["metric"]) for each in found}


def _named(labels: dict[str, str]) -> tuple[str, str]:
    return labels["alertname"], labels["severity"]


def configuration(watch: Watching, files: list[str]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": files,
        "scrape_configs": [
            {"job_name": "pgheadroom", "static_configs": [{"targets": [watch.address]}]}
        ],
    }


def shipped(folder: Path) -> list[str]:
    """The shipped files, unchanged."""
    folder.mkdir()
    for name, text in shipped_rule_texts().items():
        (folder / name).write_text(text)
    return [str(folder / "*.rules.yaml")]


def rendered(folder: Path, watch: Watching) -> list[str]:
    """The files that `watch` evaluates, with its overrides, as `rules render` writes them."""
    folder.mkdir()
    settings = Rules.model_validate(watch.document["rules"])
    for origin, text in render(settings).items():
        (folder / Path(origin).name).write_text(text)
    return [str(folder / "*.rules.yaml")]


def agree(watch: Watching, prom: Prometheus, *names: str) -> None:
    """Wait until both have the same alerts, `names` among them."""

    def same() -> bool:
        ours = firing(watch)
        known = {name for name, _ in ours}
        return ours == theirs(prom) == scraped(prom) and known >= set(names)

    try:
        eventually(same, "both engines agree", 30)
    except AssertionError as error:
        said = f"{firing(watch)}\n{theirs(prom)}\n{scraped(prom)}"
        raise AssertionError(f"{error}:\n{said}\n{watch.log}") from None


@pytest.mark.slow(35)
@pytest.mark.timeout(300)
def test_both_engines_agree_through_a_launch_and_a_cut(start_postgres, tmp_path):
    server = prepare(start_postgres(16, max_connections=SLOTS + 3))
    with contextlib.ExitStack() as stack:
        pager = stack.enter_context(HttpReceiver())
        line = stack.enter_context(Line(server.port).up())
        entry = watched(server)
        entry["dsn"] = str(entry["dsn"]).replace(str(server.port), str(line.port))
        watch = watching(tmp_path, [entry], [pagerduty(pager)])
        stack.enter_context(watch.running())
        watch.wait_for("seen", lambda s: s.up())
        quick = stack.enter_context(_engine(tmp_path / "q", watch, rendered(tmp_path / "r", watch)))
        plain = stack.enter_context(_engine(tmp_path / "p", watch, shipped(tmp_path / "s")))
        everything_loads(plain)
        agree(watch, quick)
        with contextlib.ExitStack() as launch:
            for part, name in ((0.72, "High"), (0.88, "Critical"), (1.0, "Exhausted")):
                used = watch.scrape().used()
                more = round(part * SLOTS) - round(used)
                launch.enter_context(sessions(server, more, user="app"))
                agree(watch, quick, f"PostgresConnections{name}")
            before = firing(watch)
            line.cut()
            watch.wait_for("blind", lambda s: not s.up(), 30)
            over_the_cut(watch, quick, before)
            levels = {name for name, _ in firing(watch) if name.startswith("PostgresConnections")}
            # The unchanged files have `for`s of minutes; what fires at once fires there too.
            eventually(lambda: levels <= {name for name, _ in theirs(plain)}, "unchanged files", 70)
            line.mend()
            watch.wait_for("seen again", lambda s: s.up(), 60)
            agree(watch, quick, *levels)
        told = [each.action for each in events(pager, "db", "connections")]
        assert "resolve" not in told, "neither resolved early"
        watch.wait_for("drained", lambda s: s.used() < 5, 30)
        eventually(lambda: firing(watch) == set(), "nothing fires any more", 30)
        agree(watch, quick)
        eventually(lambda: ends(pager) == 1, "told of the end, once", 30)


def ends(pager: HttpReceiver) -> int:
    return sum(each.action == "resolve" for each in events(pager, "db", "connections"))


@contextlib.contextmanager
def _engine(folder: Path, watch: Watching, files: list[str]):
    folder.mkdir()
    with prometheus(folder, configuration(watch, files)) as prom:
        yield prom


def everything_loads(prom: Prometheus) -> None:
    """Every shipped rule is loaded and evaluated there without an error."""
    names = {rule.name for rule in load_rules(Rules())[0]}

    def healthy() -> bool:
        found = [
            (rule["name"], rule["health"]) for group in prom.rules() for rule in group["rules"]
        ]
        return found != [] and set(found) == {(name, "ok") for name in names}

    eventually(healthy, "every shipped rule is healthy in Prometheus", 30)


def over_the_cut(watch: Watching, prom: Prometheus, before: set[tuple[str, str]]) -> None:
    """While nobody can look, both keep what fired before, and agree again at the end."""
    levels = {each for each in before if each[0].startswith("PostgresConnections")}
    assert levels
    assert CUT_SECONDS > 10 * KEEP_FIRING_SECONDS
    for _ in watch.observe(CUT_SECONDS)[::20]:
        assert levels <= firing(watch)
    assert levels <= theirs(prom)
    agree(watch, prom, "PostgresServerUnreachable")
