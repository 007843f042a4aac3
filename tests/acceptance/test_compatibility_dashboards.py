"""What people's dashboards and rules ask a Prometheus that scrapes pgheadroom in the peer's place.

The queries are those of the dashboards named, with Grafana's variables filled in as Grafana does.
Prometheus has the configurations of docs/migrating.md.
"""

import contextlib

import pytest
import yaml

from exporter.demo.postgres import EmbeddedPostgres
from tests.support.pages import ROOT, blocks
from tests.support.peers import prometheus
from tests.support.postgres import sessions
from tests.support.receivers import eventually
from tests.support.watching import prepare, watched, watching

SLOTS, USABLE = 20, 17
JOB = "postgres-exporter"
EXAMPLE = "pgheadroom.example.com:9970"
ONE_SERVER, SEVERAL_SERVERS = blocks(ROOT / "docs" / "migrating.md", "yaml")[:2]
PGMONITOR = {"pg_cluster": "hippo", "pod": "pg-0"}


def scraping(example, address):
    """`example`, over the pgheadroom at `address` and in a hurry."""
    assert EXAMPLE in example
    often = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    return {"global": often, **yaml.safe_load(example.replace(EXAMPLE, address))}


def scraping_one_server(address):
    found = scraping(ONE_SERVER, address)
    (job,) = found["scrape_configs"]
    job["static_configs"][0]["labels"] |= PGMONITOR
    return found


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Prometheus over pgheadroom over a server with 18 clients, one of them at work."""
    folder = tmp_path_factory.mktemp("dashboards")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        server = enter(EmbeddedPostgres(16, {"max_connections": SLOTS, "autovacuum": False}))
        prepare(server).psql("create database shop")
        watch = enter(watching(folder, [watched(server)]).running())
        watch.wait_for_used(1)
        # A superuser's, so that every usable slot can be taken and another one.
        enter(sessions(server, USABLE, dbname="shop", application_name="web"))
        (busy,) = enter(sessions(server, 1, dbname="shop", application_name="batch"))
        busy.pgconn.send_query(b"begin; select pg_sleep(600)")
        watch.wait_for_used(USABLE + 2)
        found = enter(prometheus(folder, scraping_one_server(watch.address)))
        rate = "rate(pg_stat_activity_max_tx_duration[2m])"
        eventually(lambda: bool(found.query(rate)), "two scrapes", 20)
        counted = f'pg_stat_database_numbackends{{datname="shop"}} == {USABLE + 1}'
        eventually(lambda: bool(found.query(counted)), "the statistics of a moment later", 20)
        yield found
        server.psql(f"select pg_terminate_backend({busy.info.backend_pid})")


def values(asked, query):
    return [float(element["value"][1]) for element in asked.query(query)]


INSTANCE = '{release="main", instance=~"127.0.0.1:.*"}'
SHOP = 'datname=~"(shop|postgres)", instance=~"127.0.0.1:.*"'
IDLE = r"idle|idle in transaction|idle in transaction (aborted)"
BUSY_RATIO = (
    'sum by (instance) (pg_stat_activity_count{datname="shop", state!="idle"})'
    " / on (instance) pg_settings_max_connections"
)
BUSY_PERCENT = (
    'sum(pg_stat_activity_count{pg_cluster="hippo",pod="pg-0",state="active"})*100'
    "/sum(pg_settings_max_connections)"
)
LABELS = "datname, state, usename, application_name, backend_type, wait_event_type, wait_event"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(query, expected, id=f"{where}: {query[:60]}")
        for where, query, expected in (
            ("9628", f"pg_settings_max_connections{INSTANCE}", [SLOTS]),
            ("9628", f'pg_stat_activity_count{{{SHOP}, state="active"}} !=0', [1]),
            ("9628", f'sum(pg_stat_activity_count{{{SHOP}, state=~"{IDLE}"}})', [USABLE]),
            ("9628", 'pg_static{release="main"}', [1]),
            ("9628", "pg_exporter_last_scrape_error", [0]),
            ("12485", "sum by (state) (pg_stat_activity_count) != 0", [1, USABLE]),
            ("12485", 'sum(pg_stat_activity_count{datname=~"shop",state="active"})', [1]),
            ("12485", 'pg_stat_database_numbackends{datname="shop"}', [USABLE + 1]),
            ("14114", f'pg_stat_database_numbackends{{datname=~"shop",job=~"{JOB}"}}', [18]),
            ("GitLab", BUSY_RATIO, [1 / SLOTS]),
            ("pgmonitor", BUSY_PERCENT, [100 / SLOTS]),
        )
    ],
)
def test_a_panel_shows(asked, query, expected):
    assert sorted(values(asked, query)) == sorted(expected)


@pytest.mark.parametrize(
    "query",
    [
        'pg_postmaster_start_time_seconds{release="main"} * 1000',
        'process_open_fds{release="main"}',
        f"pg_exporter_last_scrape_duration_seconds{INSTANCE}",
        "pg_stat_activity_max_tx_duration > 0",
        "rate(pg_exporter_scrapes_total[1m])",
    ],
)
def test_a_panel_shows_something_above_zero(asked, query):
    found = values(asked, query)
    assert len(found) == 1
    assert found[0] > 0


@pytest.mark.parametrize(
    ("dashboard", "label", "selector", "expected"),
    [
        ("9628", "kubernetes_namespace", "pg_exporter_last_scrape_duration_seconds", {"data"}),
        ("9628", "release", 'pg_up{kubernetes_namespace="data"}', {"main"}),
        ("9628", "datname", "", {"shop", "postgres", "template0", "template1"}),
        ("9628", "short_version", "pg_static", {"16"}),
        ("14114", "job", "pg_up", {JOB}),
        ("14114", "instance", 'up{job=~"postgres.*"}', {"127.0.0.1"}),
        ("12485", "instance", f'{{job="{JOB}"}}', {"127.0.0.1"}),
        ("14114", "datname", f'pg_stat_database_tup_fetched{{job=~"{JOB}"}}',
         {"shop", "postgres", "template0", "template1"}),
    ],
)  # fmt: skip
def test_a_variable_has_its_values(asked, dashboard, label, selector, expected):
    found = asked.label_values(label, selector)
    if label == "instance":
        found = [text.partition(":")[0] for text in found]
    if label == "short_version":
        found = [text.partition(".")[0] for text in found]
    assert set(found) == expected, dashboard


COUNT = "sum by (instance, job, server) (pg_stat_activity_count)"
MOST = "sum by (instance, job, server) (pg_settings_max_connections)"
RESERVED = "sum by (instance, job, server) (pg_settings_superuser_reserved_connections)"
PEOPLE = 'pg_stat_activity_count{datname!~"template.*|postgres"}'


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(f"{COUNT} >= {MOST} - {RESERVED}", id="mixin: MaxConnectionsReached"),
        pytest.param(f"{COUNT} > ({MOST} - {RESERVED}) * 0.8", id="mixin: HighConnections"),
        pytest.param(
            f"{COUNT} > min by (instance, job, server) (pg_settings_max_connections * 0.8)",
            id="awesome: TooManyConnections",
        ),
        pytest.param(f"{COUNT} / on (instance) pg_settings_max_connections > 0.8", id="Grafana"),
        pytest.param(
            f"sum without ({LABELS}) ({PEOPLE}) / pg_settings_max_connections * 100 > 80", id="PMM"
        ),
    ],
)
def test_a_rule_on_a_full_server_fires(asked, rule):
    assert len(asked.query(rule)) == 1


def test_rules_on_what_is_well_are_quiet_and_have_data(asked):
    assert asked.query("pg_up != 1") == []
    assert values(asked, "pg_up") == [1]
    few = "sum by (datname) (pg_stat_activity_count) < 5"
    assert {each["metric"]["datname"] for each in asked.query(few)} == {
        "postgres",
        "template0",
        "template1",
    }
    slow = "avg by (datname) (rate(pg_stat_activity_max_tx_duration[2m]))"
    assert {each["metric"]["datname"] for each in asked.query(slow)} >= {"shop", "template0"}


def test_several_servers_are_probed_by_name_and_none_is_counted_twice(tmp_path, start_postgres):
    server = prepare(start_postgres(18))
    watch = watching(tmp_path, [watched(server, "prod"), watched(server, "staging")])
    with (
        watch.running(),
        sessions(server, 3, dbname="template1"),
        prometheus(tmp_path, scraping(SEVERAL_SERVERS, watch.address)) as found,
    ):
        clients = (
            'sum by (job, instance, server) (pg_stat_activity_count{datname="template1"}) == 3'
        )
        eventually(lambda: len(found.query(clients)) == 2, "both servers probed", 20)
        assert sorted(
            (each["metric"]["job"], each["metric"]["instance"], each["metric"]["server"])
            for each in found.query(clients)
        ) == [(JOB, "prod", "prod"), (JOB, "staging", "staging")]
        own = 'pgheadroom_up{job="pgheadroom"} == 1'
        eventually(lambda: len(found.query(own)) == 2, "pgheadroom scraped", 20)
        assert found.label_values("job", "pgheadroom_up") == ["pgheadroom"]
        assert found.label_values("job", "pg_up") == [JOB]
