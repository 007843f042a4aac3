"""The recipes of CONTRIBUTING.md, followed literally in a copy of the checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.parts import program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "dist", "build", "uv.lock")
RECIPE = re.compile(r"^<!-- recipe: (\w+) -->$(.*?)(?=^<!-- recipe: |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^(`{3,})(\w+)(?: (\S+))?\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
RECIPES = dict(RECIPE.findall(TEXT))


def blocks(recipe):
    """(language, file, text) of each fenced block, in order."""
    return [found[1:] for found in BLOCK.findall(RECIPES[recipe])]


def edited(text, diff):
    """`text` after an edit whose lines with a space or a minus stand in it exactly once."""
    lines = diff.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    assert old.strip(), f"an edit shows its place:\n{diff}"
    assert f"\n{text}".count(f"\n{old}") == 1, f"not one place that reads\n{old}"
    return f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]


@pytest.fixture
def checkout(tmp_path):
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=NOT_COPIED))


def apply(checkout, blocks):
    """The files that the blocks made or changed."""
    touched = []
    for language, name, text in blocks:
        if not name:
            continue
        path = checkout / name
        if language == "diff":
            path.write_text(edited(path.read_text(encoding="utf-8"), text), encoding="utf-8")
        else:
            assert not path.exists(), f"{name} exists; a recipe makes a new file"
            path.write_text(text, encoding="utf-8")
        touched.append(name)
    return list(dict.fromkeys(touched))


def run(checkout, line):
    word, *arguments = shlex.split(line)
    if word == "promtool":
        program("promtool", "prometheus")
    name = Path(word).name
    here = Path(sys.executable).parent
    command = [sys.executable, "-m", "pytest", "-q"] if name == "pytest" else [str(here / name)]
    if word == "promtool":
        command = [word]
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTEST_ADDOPTS": "-p no:cacheprovider", "RUFF_NO_CACHE": "true"}
    done = subprocess.run(
        [*command, *arguments],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"$ {line}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_all_that_is_needed(recipe, checkout):
    found = blocks(recipe)
    commands = [
        line.removeprefix("$ ")
        for language, _, text in found
        if language == "console"
        for line in text.splitlines()
    ]
    assert commands
    touched = apply(checkout, found)
    for command in commands:
        run(checkout, command)
    python = shlex.join(name for name in touched if name.endswith(".py"))
    if python:
        run(checkout, f".venv/bin/ruff check {python}")
        run(checkout, f".venv/bin/ruff format --check {python}")
        run(checkout, f".venv/bin/mypy --cache-dir=/dev/null {python}")
        run(checkout, ".venv/bin/lint-imports --no-cache")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_block_says_in_words_which_file_it_is_for(recipe):
    """The name beside the fence is not shown by what renders the page."""
    text = RECIPES[recipe]
    for _, name, _ in blocks(recipe):
        assert f"`{name}`" in text or not name, name


def test_there_are_the_three_recipes():
    assert list(RECIPES) == ["signal", "rule", "receiver"]


def test_an_edit_without_its_place_is_noticed():
    with pytest.raises(AssertionError, match="not one place"):
        edited("a\nb\n", " c\n+d\n")
    assert edited("a\nb\n", " a\n+x\n") == "a\nx\nb\n"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"[`$] ?make ([a-z]+)", TEXT))))
def test_the_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
