"""What the chart makes of its values."""

import re
import shutil
from typing import Any

import pytest
import yaml

from exporter.rules.load import shipped_rule_texts
from tests.support.charts import (
    CHART,
    HELMS,
    RefusedError,
    configuration,
    container,
    is_custom,
    of_kind,
    one,
    pod_specs,
    render,
)

SERVER = {"name": "prod", "host": "db", "existingSecret": {"name": "prod-db"}}
SLACK = {"name": "chat", "type": "slack", "existingSecret": {"name": "slack"}}
MINIMAL = {"servers": [SERVER], "receivers": [SLACK]}
each_helm = pytest.mark.parametrize("major", HELMS)


# --- the configuration


def test_an_entry_is_written_as_pgheadroom_reads_it():
    entry = SERVER | {
        "host": "a'b",
        "port": 5433,
        "user": r"o\$x",
        "parameters": {"connect_timeout": 5},
        "labels": {"env": "prod"},
    }
    found = configuration(render("4", {"servers": [entry]}))["servers"]
    assert found == [
        {
            "name": "prod",
            "dsn": r"host='a\'b' port='5433' dbname='postgres' user='o\\$$x' connect_timeout='5'",
            "password_file": "/etc/pgheadroom/secrets/prod-db/password",
            "labels": {"env": "prod"},
        }
    ]


def test_config_is_written_as_it_stands():
    config = {
        "polling": {"interval": 1.5},
        "thresholds": {"idle_in_transaction": 1500000, "connections_critical": None},
        "external_url": "https://pgheadroom.example.com/${PATH:-}",
        "servers": [{"name": "other", "dsn": "host=db"}],
    }
    found = configuration(render("4", MINIMAL | {"config": config}))
    assert {key: found[key] for key in config if key != "servers"} == {
        key: value for key, value in config.items() if key != "servers"
    }
    assert [server["name"] for server in found["servers"]] == ["other", "prod"]


def test_a_secret_that_two_use_is_mounted_once():
    twice = [SERVER, SERVER | {"name": "twin"}]
    (spec,) = pod_specs(of_kind(render("4", {"servers": twice}), "Deployment"))
    names = [v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v]
    assert names == ["prod-db"]


def test_one_s_own_rules_are_read_by_both_engines():
    group = {"name": "ours", "rules": [{"alert": "Ours", "expr": "pgheadroom_up == 0"}]}
    values = MINIMAL | {
        "rules": {"additionalGroups": [group]},
        "prometheusRule": {"enabled": True},
        "config": {"rules": {"files": ["/etc/mine.yaml"]}},
    }
    objects = render("4", values)
    assert configuration(objects)["rules"]["files"] == ["/etc/mine.yaml", "additional.rules.yaml"]
    (text,) = [m["data"]["additional.rules.yaml"] for m in of_kind(objects, "ConfigMap")]
    assert yaml.safe_load(text) == {"groups": [group]}
    assert "Ours" in rules(objects)


# --- what comes of a change


def pod(values):
    return one(render("4", values), "Deployment")["spec"]["template"]


def test_a_change_of_the_configuration_is_taken_up_without_a_restart():
    changed = MINIMAL | {"config": {"thresholds": {"connections_warning": 0.5}}}
    assert pod(changed) == pod(MINIMAL)


def test_what_a_running_process_cannot_take_up_restarts_it():
    first = MINIMAL | {"config": {"install_id": "a"}}
    second = MINIMAL | {"config": {"install_id": "b"}}
    assert pod(first) != pod(second)
    annotations = [pod(each)["metadata"]["annotations"] for each in (first, second)]
    assert annotations[0].keys() == annotations[1].keys() == {"checksum/startup"}


def test_the_checksum_changes_when_and_only_when_the_content_does():
    def checksum(**changes):
        values = MINIMAL | {"restartOnConfigChange": True} | changes
        return pod(values)["metadata"]["annotations"]["checksum/config"]

    group = {"name": "ours", "rules": [{"alert": "Ours", "expr": "pgheadroom_up == 0"}]}
    changes: list[dict[str, Any]] = [
        {},
        {"config": {"thresholds": {"connections_warning": 0.5}}},
        {"servers": [SERVER | {"port": 5433}]},
        {"rules": {"additionalGroups": [group]}},
    ]
    assert len({checksum(**change) for change in changes}) == len(changes)
    others: list[dict[str, Any]] = [
        {"resources": {"limits": {"memory": "1Gi"}}},
        {"podLabels": {"a": "b"}},
    ]
    assert {checksum(**change) for change in others} == {checksum()}


# --- the PrometheusRule


def rules(objects):
    """The rules of the PrometheusRule by name."""
    groups = one(objects, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def shipped():
    groups = [g for text in shipped_rule_texts().values() for g in yaml.safe_load(text)["groups"]]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_the_shipped_rules_are_there_unchanged():
    assert rules(render("4", MINIMAL | {"prometheusRule": {"enabled": True}})) == shipped()


def test_what_changes_a_rule_changes_it_in_both_engines():
    overrides = {
        "PostgresConnectionsHigh": {"for": 7.5, "keep_firing_for": "15m", "severity": "critical"},
        "PostgresStaleConnections": {"enabled": False},
        "PostgresConnectionLeak": {"for": 0},
    }
    values = MINIMAL | {
        "prometheusRule": {"enabled": True, "disabled": ["PostgresServerPooled"]},
        "config": {"rules": {"overrides": overrides}},
    }
    objects = render("4", values)
    assert configuration(objects)["rules"]["overrides"] == overrides
    found, usual = rules(objects), shipped()
    gone = {"PostgresStaleConnections", "PostgresServerPooled"}
    assert found.keys() == usual.keys() - gone
    high = found["PostgresConnectionsHigh"]
    assert (high["for"], high["keep_firing_for"]) == ("7500ms", "15m")
    assert high["labels"] == usual["PostgresConnectionsHigh"]["labels"] | {"severity": "critical"}
    assert found["PostgresConnectionLeak"]["for"] == "0ms"
    assert found["PostgresConnectionsCritical"] == usual["PostgresConnectionsCritical"]


def test_no_shipped_rule_is_left():
    values = MINIMAL | {
        "prometheusRule": {"enabled": True},
        "config": {"rules": {"shipped": False}},
    }
    assert rules(render("4", values)) == {}


# --- the network


def egress(values):
    """The ports of servers and of receivers that are let out."""
    policy = one(render("4", values | {"networkPolicy": {"enabled": True}}), "NetworkPolicy")
    _, servers, receivers = policy["spec"]["egress"]
    return tuple({port["port"] for port in rule["ports"]} for rule in (servers, receivers))


@pytest.mark.parametrize(
    ("entry", "ports"),
    [
        ({"host": "a"}, {5432}),
        ({"host": "a", "port": 5433}, {5433}),
        ({"host": "a,b", "port": "5433,5434"}, {5433, 5434}),
        ({"dsn": "postgresql://u@a:6543/db?sslmode=require"}, {6543}),
        ({"dsn": "postgresql://u@a:6543,b,[::1]:7000/db"}, {6543, 5432, 7000}),
        ({"dsn": "postgresql://a"}, {5432}),
        ({"dsn": "host=a port = 5433 user=u"}, {5433}),
        ({"dsn": "host=a user=u"}, {5432}),
    ],
)
def test_the_ports_of_the_servers_are_let_out(entry, ports):
    assert egress({"servers": [{"name": "a"} | entry]}) == (ports, {443})


def test_the_ports_of_poolers_probes_and_receivers_are_let_out():
    probe = {"credentials": {"host": "shop", "port": 5440}}
    values = {
        "servers": [SERVER | {"probe": probe}],
        "poolers": [{"name": "p", "host": "b", "server": "prod"}],
        "receivers": [
            {"name": "am", "type": "alertmanager", "urls": ["http://a:9093", "http://b/x"]},
        ],
    }
    assert egress(values) == ({5432, 5440, 6432}, {443, 9093, 80})


# --- as a part of another chart


@pytest.fixture
def parent(tmp_path):
    """A chart that depends on ours, under a condition."""
    folder = tmp_path / "parent"
    shutil.copytree(CHART, folder / "charts" / "pgheadroom")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    needs = {"name": "pgheadroom", "version": version, "condition": "pgheadroom.enabled"}
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [needs]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    (folder / "values.yaml").write_text(
        yaml.safe_dump({"pgheadroom": {"enabled": False, "podSecurityContext": {"fsGroup": None}}})
    )
    return folder


@each_helm
def test_it_is_a_part_of_another_chart(parent, major):
    assert render(major, chart=parent) == []
    shared = {"imageRegistry": "registry.example.com", "storageClass": "of another part"}
    objects = render(
        major, {"global": shared, "pgheadroom": MINIMAL | {"enabled": True}}, chart=parent
    )
    image = container(objects)["image"]
    assert re.fullmatch(r"registry\.example\.com/pgheadroom/pgheadroom:[\d.]+", image)
    assert one(objects, "ServiceAccount")["metadata"]["name"] == "pg-pgheadroom"
    with pytest.raises(RefusedError, match="replicaCount"):
        render(major, {"pgheadroom": MINIMAL | {"enabled": True, "replicaCount": 2}}, chart=parent)


# --- details


def test_an_environment_variable_is_given_once_and_the_last_one_counts():
    values = MINIMAL | {
        "env": {"A": 1, "B": "b"},
        "extraEnv": [{"name": "A", "value": "2"}, {"name": "A", "value": "3"}],
    }
    assert container(render("4", values))["env"] == [
        {"name": "A", "value": "3"},
        {"name": "B", "value": "b"},
    ]


@each_helm
def test_a_large_number_keeps_its_digits(major):
    """Every number of a values file is a float, which Go would write as 1e+06."""
    big = 1_000_000
    monitors = ("serviceMonitor", "podMonitor", "scrapeConfig")
    values = {
        "servers": [SERVER | {"parameters": {"tcp_user_timeout": big}}],
        "env": {"BIG": big, "HALF": 0.5, "ON": True},
        "revisionHistoryLimit": big,
        "terminationGracePeriodSeconds": big,
        "tests": {"timeoutSeconds": big},
    }
    objects = render(
        major, values | {name: {"enabled": True, "sampleLimit": big} for name in monitors}
    )
    assert re.findall(r"1e\+.*", yaml.safe_dump_all(objects)) == []
    assert [each["value"] for each in container(objects)["env"]] == ["1000000", "0.5", "true"]
    assert "tcp_user_timeout='1000000'" in configuration(objects)["servers"][0]["dsn"]
    limits = [each["spec"]["sampleLimit"] for each in objects if is_custom(each)]
    assert limits == [big] * len(monitors)


def test_a_digest_goes_over_the_tag():
    digest = f"sha256:{'0' * 64}"
    image = {"image": {"tag": "1.2.3", "digest": digest}}
    found = container(render("4", MINIMAL | image))["image"]
    assert found == f"ghcr.io/pgheadroom/pgheadroom@{digest}"


def test_a_constraint_without_a_selector_spreads_our_pods():
    constraint = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = {"labelSelector": {"matchLabels": {"a": "b"}}}
    values = MINIMAL | {"topologySpreadConstraints": [constraint, constraint | own]}
    deployment = one(render("4", values), "Deployment")
    first, second = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert first["labelSelector"] == deployment["spec"]["selector"]
    assert second == constraint | own


def test_the_claim_stays_when_the_release_goes():
    claim = one(render("4", MINIMAL | {"persistence": {"enabled": True}}), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    values = MINIMAL | {"persistence": {"enabled": True, "keep": False, "storageClass": "-"}}
    claim = one(render("4", values), "PersistentVolumeClaim")
    assert "annotations" not in claim["metadata"]
    assert claim["spec"]["storageClassName"] == ""


def test_the_test_asks_for_every_server_with_our_own_image():
    objects = render("4", MINIMAL)
    (test,) = pod_specs(of_kind(objects, "Pod"))
    (asked,) = test["containers"]
    assert asked["image"] == container(objects)["image"]
    url = "http://pg-pgheadroom:9970"
    assert asked["args"] == ["healthcheck", "--url", url, "--servers", "--wait", "60"]
    hook = one(objects, "Pod")["metadata"]["annotations"]
    assert hook == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
    }
