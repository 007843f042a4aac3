"""The pages agree with the code that they describe."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib

import click
import pytest
import yaml

from exporter.cli import main
from exporter.config.model import Config
from tests.support.pages import ROOT, blocks, broken_links, commands, schema_problems

FOLDERS = ("*.md", "docs/**/*.md", "alerts/*.md", "dashboards/*.md")
PAGES = sorted(page for pattern in FOLDERS for page in ROOT.glob(pattern))
TOOL = runpy.run_path(str(ROOT / "tools" / "reference.py"))
SERIES = {
    family.name + ("_total" if family.type == "counter" else "")
    for families in TOOL["every_family"]()
    for family in families
}
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


@pytest.mark.parametrize("page", TOOL["PAGES"])
def test_the_tables_are_those_of_the_code(page):
    again = "python tools/reference.py --write makes them agree"
    assert (ROOT / page).read_text(encoding="utf-8") == TOOL["rendered"](page), again


def test_the_tool_fails_on_a_difference_and_writes_it_away(tmp_path):
    for folder in ("docs", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    page = tmp_path / "docs" / "metrics.md"
    right = page.read_text(encoding="utf-8")
    page.write_text(right.replace("| `pgheadroom_up`", "| `pgheadroom_down`"), encoding="utf-8")
    command = [sys.executable, str(tmp_path / "tools" / "reference.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "docs/metrics.md: differs from the code\n")
    subprocess.run([*command, "--write"], check=True, capture_output=True)
    assert page.read_text(encoding="utf-8") == right


def test_every_key_says_what_it_means():
    schema = Config.model_json_schema()
    models = {"Config": schema} | schema["$defs"]
    silent = [
        f"{name}.{key}"
        for name, model in models.items()
        for key, part in model["properties"].items()
        if not part.get("description")
    ]
    assert silent == []


def test_every_series_of_the_code_is_in_the_table():
    code = "".join(path.read_text() for path in (ROOT / "exporter" / "metrics").glob("*.py"))
    assert set(re.findall(r'"(pgheadroom_[a-z_]+)"', code)) - SERIES == set()


def test_every_label_is_explained():
    columns = " ".join(row.split("|")[3] for row in TOOL["metrics"]().splitlines()[2:])
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    by_hand = page.partition(TOOL["BEGIN"])[0]
    labels = set(re.findall(r"`(\w+)`", columns))
    assert {label for label in labels if f"`{label}`" not in by_hand} == set()


@each_page
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


@each_page
def test_series_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    if page.name == "CONTRIBUTING.md":
        text = text.partition("## Three recipes")[0]  # they make a series that is not there yet
    named = set(re.findall(r"\bpgheadroom_[a-z_]*[a-z]\b(?![*{]?\*)", text))
    assert {
        name for name in named if re.sub("_(bucket|sum|count)$", "", name) not in SERIES
    } == set()


@each_page
def test_commands_that_are_shown_exist(page):
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`(pgheadroom [a-z][^`\n]*)`", text)
    for line in [*commands(page), *inline]:
        words = shlex.split(line.partition(" | ")[0], comments=True)
        if words and words[0].rpartition("/")[2] == "pgheadroom":
            check_words(words[1:])


def check_words(words):
    """Every command and option among `words` is known; values are not looked at."""
    command: click.Command = main
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-"):
            found = command.get_command(click.Context(command), word)
            assert found is not None, word
            command = found
        elif word.startswith("--"):
            known = {opt for param in command.params for opt in param.opts} | {"--help"}
            assert word.partition("=")[0] in known, (command.name, word)


@each_page
def test_configurations_that_are_shown_fit_the_schema(page):
    schema = Config.model_json_schema()
    for block in blocks(page, "yaml"):
        shown = yaml.safe_load(block)
        if not isinstance(shown, dict) or not shown.keys() & schema["properties"].keys():
            continue  # Prometheus' own files
        part = schema | {"required": []}
        assert list(schema_problems(shown, part, schema)) == [], block


def test_the_schema_refuses_what_the_loader_refuses():
    schema = Config.model_json_schema()
    server = {"name": "a", "dsn": "x"}
    for wrong in (
        {},
        {"servers": [{"name": "a"}]},
        {"servers": [server | {"stale_after": "soon"}]},
        {"servers": [server | {"stale_afer": 1}]},
        {"servers": [server], "thresholds": {"connections_warning": 70}},
        {"servers": [server], "receivers": [{"name": "s", "type": "smoke"}]},
        {"servers": [server], "routes": [{"receiver": "s", "matchers": ["severity"]}]},
        {"servers": [server], "log": {"level": "loud"}},
    ):
        assert list(schema_problems(wrong, schema, schema)), wrong


def test_the_house_is_drawn_as_it_is_built():
    """The rooms are the layers that import-linter enforces, in their order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [
        {name.strip() for name in layer.split("|")}
        for contract in settings["contracts"]
        if contract["type"] == "layers"
        for layer in contract["layers"]
    ]
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| room |")[2].partition("\n\n")[0].splitlines()[2:]
    assert [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in table] == layers


def test_the_files_that_architecture_names_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:exporter|alerts)/[^`]+)`", page)
    assert [name for name in named if not list(ROOT.glob(name))] == []
