"""The dashboards agree with the code, with the rules, and with Grafana's own types."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import warnings

import pytest
import yaml

from exporter.config.pooler import PoolerThresholds
from exporter.config.server import Forecast, Thresholds
from tests.support.dashboards import NAMES, each_dashboard, each_panel, load, panels, selectors
from tests.support.pages import ROOT

# Its types of the classic dashboard, which every Grafana imports, warn that there are newer ones.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models import dashboard as grafana

RULES = {
    rule["alert"]: rule
    for file in (ROOT / "alerts").glob("*.rules.yaml")
    for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    for rule in group["rules"]
}


def test_the_files_are_those_of_the_code():
    done = subprocess.run(
        [sys.executable, "-m", "tools.dashboards"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tool_fails_on_a_difference_and_writes_it_away(tmp_path):
    for folder in ("tools", "dashboards", "alerts", "exporter"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file = tmp_path / "dashboards" / "fleet.json"
    right = file.read_text("utf-8")
    file.write_text(right.replace("Worst server", "Best server"), "utf-8")

    def run(*arguments):
        command = [sys.executable, "-m", "tools.dashboards", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 1
    assert "dashboards/fleet.json" in done.stdout
    assert run("--write").returncode == 0
    assert file.read_text("utf-8") == right


@each_dashboard
def test_it_is_classic_json_for_every_way_of_provisioning(name):
    found = load(name)
    assert found["uid"] == f"pgheadroom-{name}"
    assert found["id"] is None
    assert found["schemaVersion"] == 39
    assert found["editable"] is True
    assert found["graphTooltip"] == 1
    assert found["timezone"] == "browser"
    assert found["refresh"] == "30s"
    assert found["time"] == {"from": "now-3h", "to": "now"}
    assert "__inputs" not in found
    text = json.dumps(found)
    assert "${DS_" not in text
    assert len(text) < 500_000, "a ConfigMap has room for 1 MiB"


@each_dashboard
def test_links_to_the_others_keep_the_time_and_what_is_chosen(name):
    (link,) = load(name)["links"]
    assert (link["type"], link["keepTime"], link["includeVars"]) == ("dashboards", True, True)
    assert set(link["tags"]) <= set(load(name)["tags"])


def data_links(part):
    if isinstance(part, dict):
        if "url" in part:
            yield part["url"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from data_links(inner)


def test_data_links_lead_to_a_dashboard_or_a_runbook_at_the_same_time():
    urls = {url for name in NAMES for panel in panels(load(name)) for url in data_links(panel)}
    runbook = re.compile(r".*/docs/runbooks/\$\{__data\.fields\.Runbook\}")
    inner = [url for url in urls if not runbook.fullmatch(url)]
    assert len(inner) >= 3
    assert len(urls) > len(inner)
    for url in inner:
        path, _, query = url.partition("?")
        assert path in {f"/d/pgheadroom-{name}" for name in NAMES}
        parts = query.split("&")
        assert {"${datasource:queryparam}", "${job:queryparam}", "${__url_time_range}"} < set(parts)
        assert any(part.startswith("var-server=${") for part in parts)


def test_every_rule_has_the_runbook_that_its_file_names():
    (alerts,) = (p for p in panels(load("fleet")) if p["title"] == "Why you were paged")
    expr = alerts["targets"][0]["expr"]
    pages = re.findall(r'"runbook", "([^"]+)", "alertname", "([^"]+)"', expr)
    found = {alert: page for page, names in pages for alert in names.split("|")}
    assert found == {
        alert: rule["annotations"]["runbook_url"].rpartition("/")[2]
        for alert, rule in RULES.items()
    }
    assert all((ROOT / "docs" / "runbooks" / page).exists() for page in found.values())


@each_dashboard
def test_ids_are_unique_and_nothing_overlaps(name):
    found = load(name)
    ids = [panel["id"] for panel in panels(found, rows=True)]
    assert len(set(ids)) == len(ids)
    inside = [panel["panels"] for panel in found["panels"] if panel.get("collapsed")]
    for shown in (found["panels"], *inside):
        for one, other in itertools.combinations(shown, 2):
            assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
        assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in shown)


def overlap(one, other):
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or above)


def test_the_first_row_answers_without_scrolling():
    first = [p for p in load("fleet")["panels"] if p["type"] != "row"][:6]
    assert {p["gridPos"]["y"] for p in first} == {1}
    assert {p["type"] for p in first} == {"stat"}
    titles = [p["title"] for p in first]
    assert titles[:4] == ["Worst server", "Fewest slots left", "Soonest to run out", "Blind"]


def shown_steps(panel):
    """(the expressions, the steps) of a panel, or of each column of a table."""
    if panel["type"] != "table":
        found = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        expr = " ".join(target["expr"] for target in panel["targets"])
        yield expr, found
        for override in panel["fieldConfig"]["overrides"]:
            for each in override["properties"]:
                if each["id"] == "thresholds":
                    yield expr, each["value"]["steps"]
        return
    (organize,) = (t["options"] for t in panel["transformations"] if t["id"] == "organize")
    names = organize["renameByName"]
    expressions = {
        names.get(f"Value #{target['refId']}", names.get("Value")): target["expr"]
        for target in panel["targets"]
    }
    for override in panel["fieldConfig"]["overrides"]:
        properties = {each["id"]: each["value"] for each in override["properties"]}
        column = override["matcher"]["options"]
        if column in expressions:
            yield expressions[column], properties["thresholds"]["steps"]


DEFAULTS = {**Thresholds().model_dump(), **PoolerThresholds().model_dump()}
FORECAST = Forecast().model_dump()
COLORS = {"warning": "yellow", "critical": "red"}


def rule_levels():
    """(series, number, colour) that the shipped rules compare a threshold with."""
    compares = re.compile(
        r"(pgheadroom_\w+)\)?\s+>=? on \([^)]*\) group_left \(\)"
        r'\s+pgheadroom_threshold\{threshold="(\w+)"\}'
    )
    for alert, rule in RULES.items():
        for series, threshold in compares.findall(rule["expr"]):
            if alert != "PostgresServerUnreachableFull":
                yield series, DEFAULTS[threshold], COLORS[rule["labels"]["severity"]]


LEVELS = set(rule_levels())
#: What is the same number of another series, or of many.
ALSO = {
    "pgheadroom_connections": "pgheadroom_idle_in_transaction",
    "pgheadroom_connections_usable": "pgheadroom_connections_used_ratio",
}


def test_the_levels_of_the_rules_were_found():
    assert len(LEVELS) == len(DEFAULTS)


@each_panel
def test_colours_change_where_the_rules_fire(panel):
    for expr, steps in shown_steps(panel):
        assert steps[0]["value"] is None
        values = [step["value"] for step in steps[1:]]
        assert values == sorted(values)
        if "pgheadroom_exhaustion_forecast_seconds" in expr:
            horizons = [FORECAST[window]["horizon"] for window in ("page", "leak")]
            assert values == horizons
        elif {step["color"] for step in steps} <= {"text"} or values == [1]:
            continue
        else:
            named = [metric for metric, _ in selectors(expr)]
            own = {level[1:] for level in LEVELS if level[0] in named}
            own |= {level[1:] for level in LEVELS if level[0] in {ALSO.get(m) for m in named}}
            assert {(step["value"], step["color"]) for step in steps[1:]} <= own


@pytest.mark.parametrize("threshold", DEFAULTS)
def test_every_threshold_is_a_line_or_a_colour(threshold):
    """A line is drawn from the configured threshold, so it is right for servers of their own."""
    lines = {
        name
        for n in NAMES
        for panel in panels(load(n))
        for found in re.findall(r'threshold=~"([^"]+)"', json.dumps(panel).replace("\\", ""))
        for name in found.split("|")
    }
    assert threshold in lines


@each_panel
def test_a_dashed_line_has_the_colour_of_its_rule(panel):
    for override in panel["fieldConfig"]["overrides"]:
        name = override["matcher"]["options"]
        properties = {each["id"]: each["value"] for each in override["properties"]}
        if name in DEFAULTS and panel["type"] == "timeseries":
            colors = {color for _, value, color in LEVELS if value == DEFAULTS[name]}
            assert properties["color"]["fixedColor"] in colors


# Grafana's own types


register_default_plugins()


def leaves(value, path=""):
    """(path, value) of everything that is not a mapping or a list; a null is as good as absent."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{index}]")
    elif value is not None:
        yield path, value


def round_trip(document):
    return json.loads(JSONEncoder().encode(grafana.Dashboard.from_json(document)))


def lost(document):
    return set(leaves(document)) - set(leaves(round_trip(document)))


@each_dashboard
def test_the_round_trip_through_grafanas_types_loses_nothing(name):
    assert lost(load(name)) == set()


@pytest.mark.parametrize(
    ("panel", "key"), [("stat", "titel"), ("timeseries", "untit"), ("table", "optoins")]
)
def test_a_misspelled_key_would_be_lost(panel, key):
    document = load("fleet")
    found = next(each for each in panels(document) if each["type"] == panel)
    found["fieldConfig"]["defaults"][key] = "x"
    assert {path.rpartition(".")[2] for path, _ in lost(document)} == {key}
