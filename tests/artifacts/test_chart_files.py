"""The chart has what the rest of the repository has, and its README is right."""

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from exporter.config.model import Config
from tests.support.charts import CHART, CI_VALUES, HELMS, ROOT, ask, configuration, one, render
from tests.support.pages import blocks, broken_links, commands
from tools.chart.__main__ import files, leftovers
from tools.chart.values import values

README = CHART / "README.md"
ABOUT = yaml.safe_load((CHART / "Chart.yaml").read_text())


def test_everything_that_is_made_is_up_to_date():
    again = "`make chart` makes them agree"
    for path, text in files():
        assert path.read_text(encoding="utf-8") == text, f"{path}: {again}"
    assert leftovers() == [], again


def test_versions_are_those_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (ABOUT["version"], ABOUT["appVersion"]) == (version, version)
    (image,) = yaml.safe_load(ABOUT["annotations"]["artifacthub.io/images"])
    assert image["image"].endswith(f":{version}")


@pytest.mark.parametrize("name", ["changes", "links", "images"])
def test_the_annotations_for_artifact_hub_are_lists(name):
    assert isinstance(yaml.safe_load(ABOUT["annotations"][f"artifacthub.io/{name}"]), list)


@pytest.mark.parametrize("major", HELMS)
def test_helm_finds_nothing_wrong(major):
    assert "0 chart(s) failed" in ask(major, "lint", "--strict", CHART, values=[CI_VALUES[0]])


@pytest.mark.parametrize("major", HELMS)
def test_a_package_has_no_values_of_ours(major, tmp_path):
    ask(major, "package", CHART, "--destination", tmp_path)
    (archive,) = tmp_path.glob("*.tgz")
    objects = render(major, CI_VALUES[0], chart=archive)
    assert one(objects, "Deployment")
    assert archive.stat().st_size < 200_000, "a release is kept in a Secret of at most 1 MiB"


def test_every_dashboard_fits_into_a_config_map():
    for path in (CHART / "files" / "dashboards").glob("*.json"):
        assert path.stat().st_size < 500_000
        assert json.loads(path.read_text())["uid"]


def test_every_value_is_in_the_schema_and_every_value_has_one_row():
    found = [value.key for value in values()]
    assert len(found) == len(set(found)) > 100
    assert {"servers", "image.digest", "networkPolicy.scrapers"} <= set(found)


def test_no_comment_of_the_values_is_cut_off():
    text = (CHART / "values.yaml").read_text()
    shown = " ".join(value.description for value in values())
    said = [line.strip(" #-") for line in text.splitlines() if line.strip().startswith("#")]
    assert [line for line in said[3:] if line not in shown] == []


# --- the README


def test_the_readme_is_all_that_an_installation_needs():
    first, *_ = blocks(README, "yaml")
    objects = render("3", yaml.safe_load(first), release="pgheadroom", namespace="pgheadroom")
    assert [server["name"] for server in configuration(objects)["servers"]] == ["prod"]
    made = "\n".join(commands(README))
    for volume in one(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]:
        if "secret" in volume:
            assert f"create secret generic {volume['secret']['secretName']} " in made
    assert f"exec deployment/{one(objects, 'Deployment')['metadata']['name']} " in made
    assert "--config /etc/pgheadroom/config/pgheadroom.yaml" in made
    assert yaml.safe_load(first) == yaml.safe_load(
        (CHART / "ci" / "minimal-values.yaml").read_text()
    )


@pytest.mark.parametrize("index", range(1, len(blocks(README, "yaml"))))
def test_the_values_that_the_readme_shows_are_taken(index):
    first, *_ = shown = [yaml.safe_load(block) for block in blocks(README, "yaml")]
    assert one(render("4", first | shown[index]), "Deployment")


def test_the_readme_names_the_grants():
    (shown,) = blocks(README, "sql")
    text = (CHART / "files" / "grants.sql").read_text()
    for line in shown.splitlines():
        assert line.partition(";")[0] in text


def test_the_links_of_the_readme_lead_somewhere():
    assert broken_links(README) == []


def test_every_feature_of_the_values_has_a_file_in_ci():
    text = "".join(path.read_text() for path in CI_VALUES)
    used = set().union(*(yaml.safe_load(path.read_text()).keys() for path in CI_VALUES))
    known = yaml.safe_load((CHART / "values.yaml").read_text()).keys()
    assert known - used == {"enabled", "nameOverride", "securityContext"}
    assert "rds_iam" in text


# --- the notes


def test_the_notes_say_what_to_run_and_what_is_missing():
    words: list[str | Path] = ["install", "pg", CHART, "--namespace", "db", "--dry-run=client"]
    notes = ask("4", *words, values=[CHART / "ci" / "minimal-values.yaml"]).partition("NOTES:")[2]
    assert "GRANT pg_read_all_stats" in notes
    for said in ("prod-db/password", "slack/webhook-url", "helm test --namespace db pg"):
        assert said in notes
    assert "NOBODY" not in notes
    alone = {"servers": [{"name": "a", "host": "db"}]}
    notes = ask("4", *words, values=[alone]).partition("NOTES:")[2]
    assert "TELLS NOBODY" in notes


def test_the_schema_knows_every_key_of_the_configuration():
    schema = json.loads((CHART / "values.schema.json").read_text())
    own = Config.model_json_schema()["properties"].keys()
    assert own - schema["$defs"]["Config"]["properties"].keys() == {"listen", "state_dir"}
