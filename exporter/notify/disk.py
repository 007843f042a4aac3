"""The state_dir as one thing that can be opened, written and lost, and opened again.

Every call may block. A file that cannot be used is moved aside rather than refused: a watcher that
does not start because of its own notes would be worse than one that has forgotten them.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from exporter.notify.database import FILE, Database, UnusableFileError, is_damage, move_aside
from exporter.notify.lock import DirectoryLock
from exporter.notify.rows import Changes, Contents

_log = logging.getLogger(__name__)

#: A connection that failed for these reasons is as good as before.
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


class DiskError(Exception):
    """The disk does not let us; says why, without secrets."""


class Disk:
    """`notice` tells of a file that had to be moved aside, "" if none was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._opened_as: tuple[int, int] | None = None
        self._lock: DirectoryLock | None = None
        self._database: Database | None = None
        self.notice = ""

    @property
    def is_open(self) -> bool:
        """Whether `write` can be tried."""
        return self._database is not None

    def open(self) -> Contents:
        """Take the directory, open the file, and read it.

        Raises:
            StateDirBusyError: another process has the directory.
            DiskError: it cannot be used just now.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._lock is None:
                self._lock = DirectoryLock(self._directory)
                if not self._lock.held:
                    _log.warning("state_dir cannot be locked state_dir=%s", self._directory)
            self._database = self._opened(self._path)
            self._opened_as = _identity(self._path)
            return self._database.read()
        except (sqlite3.Error, OSError, UnusableFileError) as error:
            self._drop()
            raise DiskError(_words(error)) from error

    def _opened(self, path: Path) -> Database:
        try:
            return Database(path)
        except UnusableFileError as error:
            aside = move_aside(path)
            self.notice = f"{path} could not be used ({error}); moved to {aside}, a new one begun"
            _log.error("state file moved aside file=%s moved_to=%s error=%s", path, aside, error)
            return Database(path)

    def look(self) -> None:
        """Let go of a file that was removed or replaced: what goes into it nobody would find.

        SQLite writes on into a file without a name, and says nothing.
        """
        if self.is_open and _identity(self._path) != self._opened_as:
            _log.error("state file is gone, beginning it anew file=%s", self._path)
            self.close()

    def write(self, changes: Changes) -> None:
        """Write `changes` in one transaction.

        Raises:
            DiskError: none of them was written; if the disk is no longer open, open it anew.
        """
        if self._database is None:
            raise DiskError("the state file is not open")
        try:
            self._database.apply(changes)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if is_damage(error) or code not in _PASSING:
                self._drop()
            raise DiskError(_words(error)) from error

    def _drop(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def close(self) -> None:
        """Close the file and let another process have the directory."""
        self._drop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is at `path`; None where there is none that can be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
