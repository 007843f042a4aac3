"""The command as a user has it: built as a wheel and installed into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path) -> None:
    done = _tried(command, {})
    if done.returncode != 0:
        # Behind a company's proxy the machine's own certificates are right (tools/setup.sh).
        done = _tried(command, {"UV_SYSTEM_CERTS": "true"})
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _tried(
    command: Sequence[str | Path], environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    words = [str(part) for part in command]
    return subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, check=False, env=os.environ | environ
    )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """The installed `pgheadroom`, from the wheel that this checkout builds."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.prefix) / "bin" / "uv"
    _run(uv, "build", "--quiet", "--wheel", "--out-dir", folder)
    (wheel,) = folder.glob("*.whl")
    _run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    # The same versions as the lock: what is tested is the wheel, not today's registry.
    pins = folder / "pins.txt"
    _run(
        uv,
        "export",
        "--quiet",
        "--frozen",
        "--no-emit-project",
        "--no-dev",
        "--no-hashes",
        "-o",
        pins,
    )
    python = folder / "venv" / "bin" / "python"
    _run(uv, "pip", "install", "--quiet", "--python", python, "-r", pins, wheel)
    return [str(folder / "venv" / "bin" / "pgheadroom")]
