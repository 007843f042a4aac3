"""Values that the chart refuses: by its schema or its templates, always with their place."""

import pytest
from psycopg import pq

from exporter.sources.credentials import secret_parts
from tests.support.charts import HELMS, RefusedError, configuration, render

SERVER = {"name": "prod", "host": "db", "existingSecret": {"name": "prod-db"}}
SLACK = {"name": "chat", "type": "slack", "existingSecret": {"name": "slack"}}
INLINE = {"name": "a", "type": "slack", "webhook_url": "https://x"}
WORDS = {"name": "ours", "rules": ["Ours"]}
RECORDING = {"name": "ours", "rules": [{"record": "slots:free", "expr": "pgheadroom_up"}]}
CA = {"name": "s", "caKey": "ca.crt"}
MINIMAL = {"servers": [SERVER], "receivers": [SLACK]}
#: libpq's parameters whose values pgheadroom never shows.
KEYWORDS = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
SECRETS = [keyword for keyword in KEYWORDS if secret_parts({keyword: "x"})]
each_helm = pytest.mark.parametrize("major", HELMS)


def with_server(**changes):
    return {"servers": [SERVER | changes]}


def with_receiver(**changes):
    return {"servers": [SERVER], "receivers": [SLACK | changes]}


def refusal(values, major="4"):
    with pytest.raises(RefusedError) as caught:
        render(major, values)
    return str(caught.value)


# --- refused by the schema: Helm names the place with dots (3) or slashes (4)


@each_helm
@pytest.mark.parametrize(
    ("values", "place"),
    [
        (MINIMAL | {"replicaCount": 1}, "replicaCount"),
        (MINIMAL | {"replicas": 2}, "replicas"),
        (MINIMAL | {"image": {"tagg": "1"}}, "tagg"),
        (MINIMAL | {"image": {"digest": "latest"}}, "image.digest"),
        (MINIMAL | {"serviceMonitor": {"interval": "fast"}}, "serviceMonitor.interval"),
        (with_server(hots="db"), "hots"),
        (with_server(stale_after="soon"), "servers.0.stale_after"),
        (with_server(thresholds={"connections_warning": 70}), "thresholds.connections_warning"),
        (with_server(existingSecret={"name": "Prod_DB"}), "servers.0.existingSecret.name"),
        (with_server(existingSecret={}), "servers.0.existingSecret"),
        (with_server(password="hunter2"), "servers.0"),
        (with_receiver(webhook_url="https://hooks.slack.com/x"), "webhook_url"),
        (with_receiver(type="pagerduty", routing_key="k" * 32), "routing_key"),
        (with_receiver(type="webhook", url="https://example.com"), "url"),
        (with_receiver(type="webhook", headers={"Authorization": "x"}), "receivers.0.headers"),
        (with_receiver(type="smoke"), "receivers.0.type"),
        (with_receiver(existingSecret={"name": "s", "keys": {"file": "a"}}), "file"),
        (MINIMAL | {"config": {"polling": {"intervall": 1}}}, "intervall"),
        (MINIMAL | {"config": {"polling": {"interval": "often"}}}, "config.polling.interval"),
        (MINIMAL | {"config": {"listen": ":80"}}, "listen"),
        (MINIMAL | {"config": {"state_dir": "/srv"}}, "state_dir"),
        (MINIMAL | {"config": {"receivers": [INLINE]}}, "webhook_url"),
        (MINIMAL | {"rules": {"additionalGroups": [{"rules": []}]}}, "rules.additionalGroups.0"),
        (MINIMAL | {"rules": {"additionalGroups": [WORDS]}}, "rules.additionalGroups.0.rules.0"),
    ],
)  # fmt: skip
def test_the_schema_refuses(major, values, place):
    said = refusal(values, major).replace("/", ".")
    assert "schema" in said
    assert place in said
    assert "hunter2" not in said


# --- refused by the templates, in pgheadroom's words


@each_helm
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "servers: name at least one server, with its host"),
        ({"servers": [{"name": "a"}]}, "servers[0]: name its host, or give a dsn"),
        (with_server(dsn="host=a"), "servers[0].host: give either dsn or host, not both"),
        (
            {"servers": [{"name": "a", "dsn": "postgresql://u:hunter2@db/postgres"}]},
            "servers[0].dsn: has a password in it",
        ),
        (
            {"servers": [{"name": "a", "dsn": "host=db password='hunter2'"}]},
            "servers[0].dsn: has a password in it",
        ),
        (
            {"config": {"servers": [{"name": "a", "dsn": "postgresql://db/?password=hunter2"}]}},
            "config.servers[0].dsn: has a password in it",
        ),
        (
            with_server(parameters={"sslpassword": "hunter2"}),
            "servers[0].parameters.sslpassword: a secret belongs into a Secret",
        ),
        (
            {"servers": [{"name": "a", "dsn": "host=b", "existingSecret": CA}]},
            "servers[0].existingSecret.caKey: give host instead of dsn",
        ),
        (
            with_server(password_file="/run/p"),
            "servers[0].password_file: existingSecret gives the password already",
        ),
        ({"servers": [SERVER, SERVER]}, 'servers: two entries are named "prod"'),
        (
            MINIMAL | {"poolers": [{"name": "p", "host": "b", "server": "shop"}]},
            'poolers[0].server: no server is named "shop"; there are: prod',
        ),
        (
            MINIMAL | {"config": {"routes": [{"receiver": "pager"}]}},
            'config.routes[0].receiver: no receiver is named "pager"; there are: chat',
        ),
        (
            with_receiver(type="alertmanager", urls=["http://am"]),
            "receivers[0].existingSecret.keys: say which key",
        ),
        (MINIMAL | {"existingConfig": {"secret": "own"}}, "existingConfig: it is the whole"),
        (
            {"existingConfig": {"secret": "a", "configMap": "b"}},
            "existingConfig: give either secret or configMap",
        ),
        (
            MINIMAL | {"ingress": {"enabled": True}},
            "ingress.hosts: name at least one",
        ),
        (
            MINIMAL | {"rules": {"additionalGroups": [RECORDING]}},
            "rules.additionalGroups[0].rules[0]: slots:free is no alert",
        ),
        (
            MINIMAL | {
                "rules": {"additionalGroups": [RECORDING]},
                "prometheusRule": {"enabled": True},
            },
            "rules.additionalGroups[0].rules[0]: slots:free is no alert",
        ),
        (
            MINIMAL | {"prometheusRule": {"enabled": True, "disabled": ["PostgresConectionsHigh"]}},
            "prometheusRule.disabled: no rule is named PostgresConectionsHigh",
        ),
        (
            MINIMAL | {
                "prometheusRule": {"enabled": True},
                "config": {"rules": {"overrides": {"PostgresConnectionsHigh": {"for": "1.5m"}}}},
            },
            "config.rules.overrides.PostgresConnectionsHigh.for: Prometheus knows whole numbers",
        ),
    ],
)  # fmt: skip
def test_the_templates_refuse(major, values, sentence):
    said = refusal(values, major).replace('\\"', '"')
    assert sentence in said


# --- a password never reaches the ConfigMap


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hunter2@db/d",
        "postgres://u:p?hunter2@db/d",
        "postgresql://u:p#hunter2@db/d",
        "postgresql://u:p/hunter2@db/d",
        "postgresql://u:1/hunter2@db/d",
        "postgresql://u@tenant:hunter2@db/d",
        "jdbc:postgresql://db/d;password=hunter2",
        "host='db'password=hunter2",
        *(f"host=db {name} = hunter2" for name in SECRETS),
        *(f"postgresql://db/d?sslmode=require&{name}=hunter2" for name in SECRETS),
    ],
)
def test_a_dsn_with_a_secret_is_refused(dsn):
    said = refusal({"servers": [{"name": "a", "dsn": dsn}]})
    assert "servers[0].dsn: has a password in it" in said
    assert "hunter2" not in said


TELLING = {"name": "a", "dsn": "postgresql://u:p?hunter2@db/d"}
PROBED = {"name": "a", "dsn": "host=db", "probe": {"credentials": {"dsn": TELLING["dsn"]}}}


@each_helm
@pytest.mark.parametrize("entry", [TELLING, PROBED])
@pytest.mark.parametrize("section", ["servers", "poolers"])
def test_a_dsn_with_a_secret_is_refused_wherever_it_is(major, section, entry):
    key = "probe.credentials.dsn" if entry is PROBED else "dsn"
    for place, values in {
        f"{section}[0].{key}": MINIMAL | {section: [entry]},
        f"config.{section}[0].{key}": MINIMAL | {"config": {section: [entry]}},
    }.items():
        said = refusal(values, major)
        assert f" {place}: has a password in it" in said
        assert "hunter2" not in said


@each_helm
@pytest.mark.parametrize("name", SECRETS)
def test_a_parameter_that_is_a_secret_is_refused(major, name):
    said = refusal(with_server(parameters={name: "hunter2"}), major)
    assert f"servers[0].parameters.{name}: a secret belongs into a Secret" in said
    assert "hunter2" not in said


@each_helm
def test_the_address_of_a_receiver_with_a_password_is_refused(major):
    inside = "http://u:hunter2@am:9093"
    two = {"name": "am", "type": "alertmanager", "urls": ["http://am:9093", inside]}
    pager = {"name": "a", "type": "pagerduty", "url": inside}
    for place, values in {
        "receivers[0].urls[1]": {"servers": [SERVER], "receivers": [two]},
        "receivers[0].url": {"servers": [SERVER], "receivers": [pager]},
        "config.receivers[0].urls[1]": {"servers": [SERVER], "config": {"receivers": [two]}},
    }.items():
        said = refusal(values, major)
        assert f" {place}: has a password in it" in said
        assert "basic_auth.password_file" in said
        assert "hunter2" not in said


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u@db:5432/d?sslmode=require&passfile=/run/p",
        "postgresql://db:5432/d?user=u%40tenant",
        "postgresql://u@[::1]:5432,db:5433/d",
        "postgresql:///d?host=@socket",
        "host=db user=u@tenant passfile=/run/p sslkey=/run/k",
    ],
)
def test_a_dsn_without_a_secret_is_taken(dsn):
    found = configuration(render("4", {"servers": [{"name": "a", "dsn": dsn}]}))
    assert found["servers"][0]["dsn"] == dsn
