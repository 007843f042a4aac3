"""The rules of Grafana's `dashboard-linter`, and a few of the same kind.

It is a Go program (https://github.com/grafana/dashboard-linter/tree/main/docs), so its rules are
written anew here. Those that do not fit are in `dashboards/.lint`, with the reason.
"""

import json
import re
import runpy

import promql_parser

from tests.support.dashboards import (
    each_dashboard,
    each_expression,
    each_panel,
    filled,
    load,
    selectors,
    used_variables,
    variables,
)
from tests.support.pages import ROOT

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SERIES = {
    f"{family.name}{suffix}"
    for families in runpy.run_path(str(ROOT / "tools" / "reference.py"))["every_family"]()
    for family in families
    for suffix in (("_total",) if family.type == "counter" else ("",))
}
#: Prometheus' own, and the one of our process.
OTHERS = {"ALERTS", "process_start_time_seconds"}


def of_a_server(metric):
    ours = ("notifications", "outbox", "state", "config")
    return metric.startswith("pgheadroom_") and not metric.split("_")[1].startswith(ours)


@each_dashboard
def test_template_datasource(name):
    found = load(name)["templating"]["list"][0]
    assert (found["name"], found["label"]) == ("datasource", "Data source")
    assert (found["type"], found["query"]) == ("datasource", "prometheus")


@each_dashboard
def test_template_job(name):
    job = variables(load(name))["job"]
    assert job["datasource"] == DATASOURCE
    assert (job["type"], job["label"]) == ("query", "Job")
    assert (job["multi"], job["includeAll"], job["allValue"]) == (True, True, ".+")


@each_dashboard
def test_template_server_stands_for_the_instance(name):
    """`template-instance` for the label that survives a new pod; one at a time in `headroom`."""
    server = variables(load(name))["server"]
    several = name != "headroom"
    assert server["datasource"] == DATASOURCE
    assert (server["type"], server["label"]) == ("query", "Server")
    assert (server["multi"], server["includeAll"]) == (several, several)
    assert server.get("allValue") == (".+" if several else None)


@each_dashboard
def test_template_label_promql(name):
    for each in variables(load(name)).values():
        if each["type"] == "query":
            pattern = r"label_values\((.+), (\w+)\)"
            ((selector, label),) = re.findall(pattern, each["query"]["query"])
            assert each["definition"] == each["query"]["query"]
            assert label == each["name"]
            promql_parser.parse(filled(selector))


@each_dashboard
def test_template_on_time_change_reload(name):
    for each in variables(load(name)).values():
        if each["type"] != "datasource":
            assert each["refresh"] == 2


@each_dashboard
def test_template_order_and_use(name):
    found = list(variables(load(name)))
    wanted = ["datasource", "job", "server", *(["pooler"] if name == "poolers" else ())]
    assert found[: len(wanted)] == wanted
    rest = json.dumps(load(name)["panels"]) + json.dumps(load(name)["templating"])
    assert set(found) <= used_variables(rest)


@each_panel
def test_panel_datasource(panel):
    assert panel["datasource"] == DATASOURCE
    assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@each_panel
def test_panel_title_description(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert len(panel["description"].split()) >= 8


@each_panel
def test_panel_units(panel):
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in {"short", "percentunit", "s", "cps"}
    ratio = any("_ratio" in target["expr"].split("{")[0] for target in panel["targets"])
    assert not ratio or panel["type"] == "table" or defaults["unit"] == "percentunit"


@each_panel
def test_panel_no_targets(panel):
    refs = [target["refId"] for target in panel["targets"]]
    assert refs
    assert len(set(refs)) == len(refs)


@each_panel
def test_panel_legend(panel):
    if panel["type"] in {"timeseries", "stat", "bargauge", "state-timeline"}:
        several = [t for t in panel["targets"] if re.search(r"\bby \(|topk|bottomk", t["expr"])]
        named = panel["options"].get("textMode", "value_and_name") == "value_and_name"
        assert not named or all(target["legendFormat"] != "__auto" for target in several)


@each_expression
def test_target_promql(each):
    promql_parser.parse(filled(each.expr))


@each_expression
def test_target_rate_interval(each):
    """`rate` over the interval that Grafana knows to hold enough scrapes."""
    for found in re.findall(r"\b(?:rate|increase|irate)\([^()]*\[([^\]]+)\]\)", each.expr):
        assert found == "$__rate_interval"


@each_expression
def test_target_job_and_server(each):
    """Every selector asks for the job and, where the series has one, the server and the pooler."""
    for metric, matchers in selectors(each.expr):
        assert 'job=~"$job"' in matchers, metric
        if of_a_server(metric):
            assert 'server=~"$server' in matchers, metric
        if metric.startswith("pgheadroom_pool") and each.dashboard == "poolers":
            assert 'pooler=~"$pooler"' in matchers or "capacity" in metric


@each_expression
def test_target_counter_agg(each):
    """Counters are seen through a rate or an increase, never as they are."""
    for metric, _ in selectors(each.expr):
        if metric.endswith("_total"):
            assert re.search(rf"\b(?:rate|increase)\({metric}\{{", each.expr)


@each_expression
def test_every_series_is_one_that_is_exported(each):
    for metric, _ in selectors(each.expr):
        assert metric in SERIES | OTHERS


@each_expression
def test_two_pgheadrooms_over_one_server_are_not_counted_twice(each):
    """Nothing is summed before it was made one series for each thing that is counted."""
    for by, metric in re.findall(r"\b(?:sum|count)( by \([^)]*\))? ?\((\w+)\{", each.expr):
        assert "instance" in by or not of_a_server(metric)
