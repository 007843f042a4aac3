from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from exporter.alerting.notification import Transition
from exporter.notify.database import FILE, SCHEMA_VERSION
from exporter.notify.lock import StateDirBusyError
from exporter.notify.receiver import Reason
from exporter.notify.store import SLOW, StateStore
from tests.support.notifications import notification
from tests.support.receivers import eventually


@contextmanager
def store(path, **options):
    made = StateStore(path, **({"retry_seconds": 0.02, "flush_seconds": 0.01} | options))
    try:
        yield made
    finally:
        made.close()


@contextmanager
def blocked(path):
    """Another connection holds the write lock: a disk that does not come to an end."""
    with closing(sqlite3.connect(path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def on_disk(path) -> tuple[dict[str, str], list[int]]:
    with closing(sqlite3.connect(path / FILE)) as connection:
        states = dict(connection.execute("SELECT key, text FROM state"))
        return states, [id_ for (id_,) in connection.execute("SELECT id FROM outbox ORDER BY id")]


def test_transition_and_its_rows_are_there_after_a_restart(tmp_path):
    told = [("slack", notification()), ("pagerduty", notification(Transition.ESCALATED))]
    with store(tmp_path) as first:
        result = first.commit({"incidents": "[1]"}, told)
        assert result.on_disk
    with store(tmp_path) as second:
        assert second.load("incidents") == "[1]"
        rows = second.pending_rows()
        assert [(row.receiver, row.notification) for row in rows] == told
        assert all(row.resumed for row in rows)
        later = second.commit({}, told).rows
        assert min(row.id for row in later) > max(row.id for row in rows)


def test_commits_survive_a_power_cut(tmp_path):
    with store(tmp_path) as it:
        connection = it._disk._database._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_ids_grow_even_when_the_clock_steps_back(tmp_path):
    times = iter([1000.0, 10.0, 20.0])
    with store(tmp_path, clock=lambda: next(times)) as first:
        ids = [first.commit({}, [("slack", notification())]).rows[0].id for _ in range(3)]
    assert ids == sorted(set(ids))


def test_settled_rows_are_gone_and_dead_ones_are_kept(tmp_path):
    with store(tmp_path) as first:
        rows = first.commit({}, [("slack", notification())] * 3).rows
        first.settle([rows[0].id])
        first.bury(rows[1].id, Reason.GONE)
    with store(tmp_path) as second:
        assert [row.id for row in second.pending_rows()] == [rows[2].id]
        assert [(d.row.id, d.reason) for d in second.dead_letters()] == [(rows[1].id, Reason.GONE)]
        assert second.health().dead == 1


def test_save_soon_is_coalesced_and_forget_removes(tmp_path):
    with store(tmp_path, flush_seconds=30) as first:
        for number in range(100):
            first.save_soon("history/a", str(number))
        first.save_soon("history/b", "x")
        first.forget("history/b")
        assert first.load("history/a") == "99"
        assert first.health().unsaved == 2
        assert on_disk(tmp_path)[0] == {}
    assert on_disk(tmp_path)[0] == {"history/a": "99"}
    with store(tmp_path) as second:
        assert second.keys("history/") == ("history/a",)


def test_slow_disk_is_not_waited_for_and_catches_up(tmp_path):
    with store(tmp_path) as it:
        with blocked(tmp_path):
            result = it.commit({"k": "v"}, [("slack", notification())], timeout=0.05)
            assert (result.on_disk, result.error) == (False, SLOW)
            assert len(result.rows) == 1
            assert it.health().slow == 1
        eventually(lambda: on_disk(tmp_path) == ({"k": "v"}, [result.rows[0].id]), "row on disk")


def test_full_disk_is_said_and_rows_land_when_there_is_room(tmp_path):
    with store(tmp_path) as it:
        connection = it._disk._database._connection
        connection.execute("PRAGMA max_page_count=1")  # SQLite raises it to the size it has
        result = it.commit({"k": "v" * 100_000}, [("slack", notification())], timeout=5)
        assert not result.on_disk
        assert "full" in result.error
        assert not it.health().writable
        assert it.load("k") == "v" * 100_000
        it.settle([result.rows[0].id])
        other = it.commit({}, [("slack", notification())], timeout=5).rows[0]
        connection.execute("PRAGMA max_page_count=100000")
        eventually(lambda: it.health().writable and not it.health().unsaved, "room again")
        assert on_disk(tmp_path) == ({"k": "v" * 100_000}, [other.id])


def test_directory_that_cannot_be_used_works_from_memory_until_it_can(tmp_path):
    path = tmp_path / "state"
    path.write_text("a file where the directory should be")
    with store(path) as it:
        result = it.commit({"k": "v"}, [("slack", notification())], timeout=5)
        assert not result.on_disk
        assert str(path) in it.health().error
        assert it.load("k") == "v"
        path.unlink()
        eventually(lambda: it.health().writable, "directory is usable")
        assert on_disk(path) == ({"k": "v"}, [result.rows[0].id])


def test_a_directory_that_was_removed_is_made_again_with_all_that_is_known(tmp_path):
    path = tmp_path / "state"
    with store(path) as it:
        told = it.commit({"a": "1"}, [("slack", notification())])
        shutil.rmtree(path)
        assert it.commit({"b": "2"}, ()).on_disk
        assert it.health().writable
        assert on_disk(path) == ({"a": "1", "b": "2"}, [told.rows[0].id])
        with pytest.raises(StateDirBusyError):
            StateStore(path)
        assert it.commit({"c": "3"}, ()).on_disk
        assert on_disk(path)[0] == {"a": "1", "b": "2", "c": "3"}


def test_a_file_that_was_put_in_its_place_is_made_what_is_known(tmp_path):
    path, other = tmp_path / "state", tmp_path / "other"
    with store(other) as earlier:
        earlier.commit({"a": "0", "x": "0"}, [("slack", notification())])
    with store(path) as it:
        it.commit({"a": "1"}, ())
        (other / FILE).replace(path / FILE)
        (path / f"{FILE}-wal").unlink()
        assert it.commit({"b": "2"}, ()).on_disk
    with store(path) as again:
        assert (again.keys(), again.load("a"), again.pending_rows()) == (("a", "b"), "1", ())


def test_rows_that_the_disk_shows_late_are_handed_over(tmp_path):
    path = tmp_path / "state"
    with store(path) as first:
        left = first.commit({"old": "1", "both": "old"}, [("slack", notification())]).rows[0]
    hidden = path.rename(tmp_path / "hidden")
    path.write_text("not mounted yet")
    seen: list[int] = []
    with store(path, retry_seconds=60) as second:
        second.on_late_rows = lambda rows: seen.extend(row.id for row in rows)
        path.unlink()
        hidden.rename(path)
        second.save("both", "new", timeout=5)
        assert seen == [left.id]
        assert (second.load("old"), second.load("both")) == ("1", "new")


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b"not a database" * 100),
        lambda file: file.write_bytes(file.read_bytes()[:5000] + b"\xff" * 3000),
        lambda file: (file.unlink(), file.mkdir()),
        lambda file: _set_version(file, SCHEMA_VERSION + 1),
    ],
    ids=["not a database", "damaged", "a directory", "of another version"],
)
def test_file_that_cannot_be_used_is_moved_aside(tmp_path, damage):
    with store(tmp_path) as first:
        first.save("k", "v" * 20_000)
    (tmp_path / f"{FILE}.corrupt-1").write_text("an earlier one")
    damage(tmp_path / FILE)
    with store(tmp_path) as second:
        assert second.load("k") is None
        assert f"{FILE}.corrupt-2" in second.health().notice
        assert second.health().writable
        assert second.save("k", "new", timeout=5).on_disk
    assert (tmp_path / f"{FILE}.corrupt-2").exists()
    assert on_disk(tmp_path)[0] == {"k": "new"}


def _set_version(file, version):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA user_version={version}")


def test_row_that_is_no_notification_does_not_stop_the_others(tmp_path):
    with store(tmp_path) as first:
        rows = first.commit({}, [("slack", notification())] * 2).rows
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE outbox SET notification = '[]' WHERE id = ?", (rows[0].id,))
    with store(tmp_path) as second:
        assert [row.id for row in second.pending_rows()] == [rows[1].id]


def test_second_process_gets_one_clear_error_and_none_after_a_kill(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from exporter.notify.store import StateStore;"
        "StateStore(Path(sys.argv[1])); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            with pytest.raises(StateDirBusyError, match=rf"{tmp_path}.*pid {other.pid}"):
                StateStore(tmp_path)
        finally:
            other.kill()
    with store(tmp_path) as mine:
        assert mine.save("k", "v", timeout=5).on_disk


def test_state_is_for_its_owner_alone(tmp_path):
    with store(tmp_path / "new"):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_nothing_of_it_runs_after_close(tmp_path):
    before = set(threading.enumerate())
    it = StateStore(tmp_path)
    assert it.close()
    assert set(threading.enumerate()) == before
    assert it.commit({"k": "v"}, ()).on_disk is False
    it.settle([1])
    assert str(tmp_path / FILE) not in _open_files()


def _open_files() -> set[str]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(each.readlink()))
        except OSError:
            continue
    return found
