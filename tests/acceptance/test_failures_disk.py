"""A state directory that is full, read-only, slow or damaged: it pages all the same and says so."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disk_shim import StateDisk
from tests.support.postgres import sessions
from tests.support.receivers import HttpReceiver
from tests.support.watching import events, pagerduty, prepare, watched, watching

USABLE = 17
#: The page is on its way this long after the crossing, whatever the disk does: polls are 0.2 s
#: apart, and a commit is waited for 0.25 s.
PAGE_SECONDS = 10.0


@pytest.fixture
def case(start_postgres, tmp_path):
    """A watch whose disk can be troubled: (server, watch, its receiver, its disk)."""
    server = prepare(start_postgres(18, max_connections=20))
    disk = StateDisk(tmp_path, tmp_path / "state")
    with HttpReceiver() as pager:
        watch = watching(
            tmp_path,
            [watched(server)],
            [pagerduty(pager)],
            environ=disk.environ,
            thresholds={"connections_warning": None, "connections_critical": None},
            cold_start_resolve=None,
        )
        yield server, watch, pager, disk


def told(pager: HttpReceiver) -> list[str]:
    return [each.action for each in events(pager, "db")]


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "full"), (errno.EROFS, "disk I/O error")],
)
def test_a_disk_that_refuses_delays_no_page_and_is_said(case, number, said):
    server, watch, pager, disk = case
    with watch.running():
        watch.wait_for("writable", lambda s: s.one("pgheadroom_state_writable") == 1)
        disk.fail(number)
        with sessions(server, USABLE - 1, user="app"):
            pager.wait_for(1, PAGE_SECONDS)
            watch.wait_for("said", lambda s: s.one("pgheadroom_state_writable") == 0)
            assert said in watch.page
            assert "State: cannot be written" in watch.page
            (line,) = watch.logged("state cannot be written")
            assert said in line
            assert watch.logged("sent without a copy on disk")
            watch.wait_for("alert", lambda s: s.firing("PgheadroomStateNotWritable", ""))
        watch.wait_for("resolved", lambda _: told(pager)[-1] == "resolve")
        disk.fail(0)
        watch.wait_for("writable again", lambda s: s.one("pgheadroom_state_writable") == 1)
        assert watch.logged("state is written again")
        assert "State:" not in watch.page
    assert told(pager) == ["trigger", "resolve"]


def test_a_slow_disk_delays_no_page(case):
    server, watch, pager, disk = case
    with watch.running():
        watch.wait_for("writable", lambda s: s.one("pgheadroom_state_writable") == 1)
        disk.dawdle(3)
        with sessions(server, USABLE - 1, user="app"):
            pager.wait_for(1, PAGE_SECONDS)
            assert watch.logged("sent without a copy on disk")
            disk.dawdle(0)
        watch.wait_for("resolved", lambda _: told(pager)[-1] == "resolve")
    assert told(pager) == ["trigger", "resolve"]


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_file_is_moved_aside_and_the_page_comes(case, damage):
    server, watch, pager, _ = case
    with watch.running():
        watch.wait_for("writable", lambda s: s.one("pgheadroom_state_writable") == 1)
    file = watch.state_dir / "state.sqlite3"
    if damage == "garbage":
        file.write_bytes(b"\0garbage\n" * 4096)
    else:
        os.truncate(file, file.stat().st_size // 2)
    with watch.running(), sessions(server, USABLE - 1, user="app"):
        pager.wait_for(1, PAGE_SECONDS)
        assert watch.scrape().one("pgheadroom_state_writable") == 1
        assert "could not be used" in watch.page
        assert watch.logged("state file moved aside")
    assert file.with_name("state.sqlite3.corrupt-1").exists()


@contextlib.contextmanager
def tiny_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size`; only root may make one, and not in every container."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no mount here")
    options = ("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is for root")
    try:
        yield folder
    finally:
        subprocess.run([umount, "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free in `folder`."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return ballast


def test_a_real_full_disk_gets_what_piled_up_when_there_is_room(case):
    server, watch, pager, _ = case
    with tiny_disk(watch.state_dir, "1m"), watch.running():
        watch.wait_for("writable", lambda s: s.one("pgheadroom_state_writable") == 1)
        ballast = fill(watch.state_dir)
        with sessions(server, USABLE - 1, user="app"):
            pager.wait_for(1, PAGE_SECONDS)
            watch.wait_for("said", lambda s: s.one("pgheadroom_state_writable") == 0)
            ballast.unlink()
            watch.wait_for("written", lambda s: s.one("pgheadroom_state_writable") == 1)
            watch.kill()
        before = len(pager.requests)
        with watch.running():
            watch.wait_for("resolved", lambda _: told(pager)[-1] == "resolve")
        assert told(pager)[before:] == ["resolve"], "what piled up was on disk"
