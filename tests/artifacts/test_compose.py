"""The compose file: its parts agree with one another, and are taken by what reads them."""

import configparser
import itertools
import re
import subprocess
from pathlib import PurePosixPath

import pytest
import yaml

from exporter.reload import read_config
from exporter.sources.grants import grants_sql
from tests.support.pages import ROOT
from tests.support.peers import debian_program

FOLDER = ROOT / "compose"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
each_service = pytest.mark.parametrize("name", SERVICES)


def test_everything_is_there():
    assert set(SERVICES) == {
        "postgres", "pgbouncer", "pgheadroom", "prometheus", "grafana", "load"
    }  # fmt: skip


def folders(name):
    """What of this repository a service has, by its place in the container."""
    mounts = [mount.split(":") for mount in SERVICES[name].get("volumes", ())]
    return {
        PurePosixPath(target): FOLDER / source
        for source, target, *_ in mounts
        if source.startswith(".")
    }


def places(name):
    """Every place of a container where something is mounted."""
    targets = [mount.split(":")[1] for mount in SERVICES[name].get("volumes", ())]
    return [PurePosixPath(place) for place in [*targets, *SERVICES[name].get("tmpfs", ())]]


@each_service
def test_what_is_mounted_exists(name):
    for mount in SERVICES[name].get("volumes", ()):
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert mount.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@each_service
def test_no_place_has_to_be_made_in_a_folder_that_is_read_only(name):
    """The container would not start: runc makes a place that is not there, and here cannot."""
    for (outer, source), inner in itertools.product(folders(name).items(), places(name)):
        if outer in inner.parents:
            assert (source / inner.relative_to(outer)).exists(), f"{inner} in {outer}"


@each_service
def test_nothing_listens_on_more_than_loopback_and_versions_are_named(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))
    assert re.fullmatch(r"[a-z.]+/[a-z]+/[a-z]+:v?[\d.]+(-p\d+)?", SERVICES[name]["image"])
    assert set(SERVICES[name].get("depends_on", ())) <= set(SERVICES)


def test_pgheadroom_is_shut_in():
    service = SERVICES["pgheadroom"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["healthcheck"]["test"] == ["CMD", "pgheadroom", "healthcheck"]


def test_pgheadroom_takes_its_configuration():
    config = read_config(FOLDER / "pgheadroom" / "pgheadroom.yaml", {})
    assert [server.name for server in config.servers] == ["postgres"]
    assert [pooler.server for pooler in config.poolers] == ["postgres"]
    assert config.listen == ":9970"
    text = (FOLDER / "pgheadroom" / "pgheadroom.yaml").read_text()
    assert set(re.findall(r"@(\w+)", text)) <= set(SERVICES)


def test_prometheus_takes_its_configuration(tmp_path):
    text = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    for place, source in folders("prometheus").items():
        text = text.replace(f"{place}/", f"{source}/")
    (tmp_path / "prometheus.yml").write_text(text)
    done = subprocess.run(
        [debian_program("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rules = len(list((ROOT / "alerts").glob("*.rules.yaml")))
    assert f"SUCCESS: {rules} rule files found" in done.stdout


def test_the_server_is_made_with_our_grants(start_postgres):
    sql = (FOLDER / "postgres" / "init.sql").read_text()
    assert grants_sql() in sql
    server = start_postgres(18)
    for part in sql.split("CREATE DATABASE"):
        server.psql(part if part.startswith("--") else f"CREATE DATABASE{part}")
    assert (
        server.psql("select count(*) from pg_roles where rolname in ('pgheadroom', 'shop')") == "2"
    )


def test_pgbouncer_leads_to_the_server_and_lets_pgheadroom_in():
    ini = configparser.ConfigParser()
    ini.read(FOLDER / "pgbouncer" / "pgbouncer.ini")
    assert "host=postgres" in ini["databases"]["shop"]
    assert ini["pgbouncer"]["stats_users"] == "pgheadroom"
    users = re.findall(r'"(\w+)"', (FOLDER / "pgbouncer" / "userlist.txt").read_text())
    assert users == ["pgheadroom", "shop"]


def test_grafana_finds_prometheus_and_the_dashboards():
    source = yaml.safe_load((FOLDER / "grafana" / "datasources.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    provided = yaml.safe_load((FOLDER / "grafana" / "dashboards.yaml").read_text())
    path = provided["providers"][0]["options"]["path"]
    assert f"../dashboards:{path}:ro" in SERVICES["grafana"]["volumes"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "dashboards" / home.rpartition("/")[2]).exists()
