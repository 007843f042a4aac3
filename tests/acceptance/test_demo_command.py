from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.demo.postgres import PostgresError, binaries
from tests.support.parts import needing

SECONDS = 60.0


@pytest.fixture(autouse=True)
def _has_postgres() -> None:
    with needing(PostgresError):
        binaries(16)


#: As a shell does it for `demo &`: with SIGINT ignored. Signals must end it all the same.
IN_THE_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")


@contextlib.contextmanager
def demo(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The installed command, its output in a file."""
    output = folder / "demo.txt"
    command = [*IN_THE_BACKGROUND, sys.executable, "-m", "exporter", "demo", *options]
    environment = os.environ | {"TMPDIR": str(folder), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    with output.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, text=True, env=environment
        )
        try:
            yield process, output
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that still run."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def wait_for_text(process: subprocess.Popen[str], output: Path, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(output.read_text())


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


@pytest.mark.slow(18)
def test_the_page_comes_before_the_first_refusal(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "5") as (process, output):
        status = process.wait(SECONDS)
    text = output.read_text()
    assert status == 0, text
    for part in (
        "70 % of the usable slots",
        "85 % of the usable slots",
        "first page",
        "first refused client",
        "before the first refused client",
        "checkout-lambda",
    ):
        assert part in text, text
    assert max(map(len, text.splitlines())) <= 200
    assert [each.name for each in tmp_path.iterdir()] == ["demo.txt"]


@pytest.mark.slow(14)
def test_kept_up_it_serves_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "8", "--keep") as (process, output):
        wait_for_text(process, output, "Ctrl-C stops everything")
        started = children(process.pid)
        assert len(started) == 2
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
    assert status in (0, 1), output.read_text()  # the verdict, whatever so high a speed makes of it
    assert all(gone(pid) for pid in started)
    assert "/metrics" in output.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["demo.txt"]


def test_a_watcher_that_dies_is_a_failed_demo(tmp_path: Path) -> None:
    with demo(tmp_path, "--speed", "8") as (process, output):
        wait_for_text(process, output, "launch begins")
        (watcher,) = (pid for pid in children(process.pid) if "run" in arguments(pid))
        os.kill(watcher, signal.SIGKILL)
        status = process.wait(SECONDS)
    assert status == 1, output.read_text()
    assert "Nobody was paged." in output.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_everything(tmp_path: Path, number: int) -> None:
    with demo(tmp_path, "--speed", "1") as (process, output):
        wait_for_text(process, output, "slots used")
        started = children(process.pid)
        assert len(started) == 2
        process.send_signal(number)
        status = process.wait(30)
    assert status == 130, output.read_text()
    assert all(gone(pid) for pid in started)


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--speed", "0"), "--speed"), (("--postgres", "12"), "12")],
)
def test_options_that_cannot_work_are_named(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    with demo(tmp_path, *options) as (process, output):
        status = process.wait(30)
    assert status == 2
    assert words in output.read_text()
