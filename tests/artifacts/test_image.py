"""The Dockerfile: what hadolint does not see."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
STAGES = re.split(r"(?m)^(?=FROM )", TEXT)
FINAL = STAGES[-1]


def instructions(text, name):
    joined = text.replace("\\\n", " ")
    return re.findall(rf"(?m)^{name} (.*)$", joined)


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "info", ROOT / "Dockerfile"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_a_number_that_is_not_root():
    assert instructions(FINAL, "USER") == ["65532:65532"]
    assert FINAL.index("\nUSER ") > FINAL.rindex("\nRUN ")


def test_signals_reach_the_process():
    assert instructions(FINAL, "ENTRYPOINT") == ['["pgheadroom"]']
    assert instructions(FINAL, "CMD")[0].startswith('["run", ')
    assert instructions(TEXT, "HEALTHCHECK") == []


def test_both_stages_are_on_one_base_that_can_be_given():
    assert instructions(TEXT, "FROM") == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    assert [arg.partition("=")[0] for arg in instructions(STAGES[0], "ARG")] == ["BASE_IMAGE"]


def test_versions_are_those_of_the_lock_and_the_package():
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    (uv,) = [package["version"] for package in lock["package"] if package["name"] == "uv"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = dict(arg.split("=", 1) for arg in instructions(TEXT, "ARG") if "=" in arg)
    assert given["UV_VERSION"] == uv
    assert given["VERSION"] == project["version"]
    assert set(re.findall(r"--extra (\w+)", given["EXTRAS"])) <= set(
        project["optional-dependencies"]
    )


def test_nothing_is_installed_that_the_lock_does_not_name():
    (run,) = [each for each in instructions(STAGES[1], "RUN") if "requirements.txt" in each]
    for option in ("--frozen", "--no-dev", "--require-hashes", "--only-binary :all:"):
        assert option in run
    assert "apt-get" not in TEXT


@pytest.mark.parametrize(
    "label", ["title", "description", "source", "revision", "version", "licenses", "created",
              "base.name", "documentation"],
)  # fmt: skip
def test_labels(label):
    assert f"org.opencontainers.image.{label}=" in FINAL


def test_what_is_copied_is_let_in_and_nothing_else_is():
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        word
        for each in instructions(STAGES[1], "COPY")
        for word in each.split()[:-1]
        if not word.startswith("--")
    ]
    assert {line[1:] for line in allowed if line.startswith("!")} == set(copied)
    assert "*" in allowed
    assert all((ROOT / word).exists() for word in copied)
