"""A newcomer types what README.md shows."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from exporter.config.model import Config
from exporter.sources.grants import grants_sql
from tests.support.pages import ROOT, blocks, commands, schema_problems

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
CLEAN = {name: value for name, value in os.environ.items() if "_URL" not in name}
SECRET = "s3cr3t-0123456789"


def run(folder, line, **environment):
    words = shlex.split(line)
    assert words[0] == "pgheadroom"
    return subprocess.run(
        [sys.executable, "-m", "exporter", *words[1:]],
        cwd=folder, env=CLEAN | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """The README's pgheadroom.yaml, and the secret files that it names."""
    (block,) = blocks(README, "yaml")
    (tmp_path / "pgheadroom.yaml").write_text(block)
    for name in re.findall(r"_file: (\S+)", block):
        secret = tmp_path / name
        secret.parent.mkdir(exist_ok=True)
        secret.write_text(f"https://hooks.slack.com/services/{SECRET}\n")
    return tmp_path


def test_it_begins_with_the_two_commands():
    assert commands(README)[:2] == ["make demo", "make test"]
    assert len(TEXT.splitlines()) < 200


def test_the_sql_is_what_grants_prints():
    (block,) = blocks(README, "sql")
    assert block == grants_sql("pgheadroom")


def test_the_configuration_is_fine_and_fits_the_schema(folder):
    (line,) = [each for each in commands(README) if each.startswith("pgheadroom config check")]
    done = run(folder, line)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "pgheadroom.yaml: fine. Servers: prod. Receivers: db-channel, on-call.\n"
    )
    schema = Config.model_json_schema()
    shown = yaml.safe_load((folder / "pgheadroom.yaml").read_text())
    assert list(schema_problems(shown, schema, schema)) == []


def test_a_missing_secret_file_is_named(folder):
    (folder / "secrets" / "slack-webhook").unlink()
    done = run(folder, "pgheadroom config check --config pgheadroom.yaml")
    assert done.returncode == 2
    assert "receivers[0].webhook_url_file: cannot read" in done.stderr
    assert SECRET not in done.stderr


def test_the_environment_alone_is_enough(tmp_path):
    exports = [
        shlex.split(line)[1].partition("=") for line in commands(README) if "export " in line
    ]
    environment = {name: value for name, _, value in exports}
    assert set(environment) == {
        "DATABASE_URL", "SLACK_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "PAGERDUTY_URL"
    }  # fmt: skip
    done = run(tmp_path, "pgheadroom config check", **environment)
    assert done.returncode == 0, done.stderr
    assert "Servers: db.example.com. Receivers: pagerduty, slack." in done.stdout


def test_the_ten_minutes_are_in_order():
    typed = [line.split(" --")[0] for line in commands(README) if line.startswith("pgheadroom")]
    assert typed == [
        "pgheadroom config check",
        "pgheadroom check",
        "pgheadroom notify test",
        "pgheadroom run",
        "pgheadroom run",
    ]


def test_the_timeline_has_the_words_of_the_demo():
    table = TEXT.partition("seconds  slots  event\n")[2].partition("\n\n")[0]
    events = [line.split(maxsplit=2)[2] for line in table.splitlines()]
    code = "".join(path.read_text() for path in (ROOT / "exporter" / "demo").glob("*.py"))
    missing = [event for event in events if re.sub(r"\d+ %", "", event).strip() not in code]
    assert (len(events), missing) == (5, [])


def test_the_options_exist():
    named = set(re.findall(r"`(--[a-z-]+)", TEXT))
    code = "".join(path.read_text() for path in (ROOT / "exporter" / "cli").glob("*.py"))
    assert {option for option in named if f'"{option}"' not in code} == set()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"[`$] ?make ([a-z]+)", TEXT))))
def test_the_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
