"""The SQLite file in state_dir: a table of states, and the outbox. Every call may block or fail.

WAL with synchronous=FULL: what is committed survives a power cut, at one fsync a commit.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from exporter.alerting.notification import Notification
from exporter.notify.receiver import Reason
from exporter.notify.rows import Changes, Contents, DeadLetter, OutboxRow

FILE = "state.sqlite3"
SCHEMA_VERSION = 1
#: Less than it takes to be noticed, more than somebody's look into the file takes.
_BUSY_SECONDS = 1.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY,
    receiver TEXT NOT NULL,
    notification TEXT NOT NULL,
    created_at REAL NOT NULL,
    died_at REAL,
    reason TEXT
);
"""


class UnusableFileError(Exception):
    """The file is not a database of ours, or a damaged one; a new one must be begun."""


class Database:
    """An open file. Used by one thread at a time.

    Raises:
        UnusableFileError: what is there must be moved aside first.
        sqlite3.Error, OSError: the disk does not let us.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            raise UnusableFileError("it cannot be read and written")
        self._connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
        except (sqlite3.Error, UnusableFileError):
            self._connection.close()
            raise

    def _prepare(self) -> None:
        try:
            version = self._value("PRAGMA user_version")
            damage = self._value("PRAGMA quick_check(1)")
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                raise UnusableFileError(str(error)) from error
            raise
        if damage != "ok":
            raise UnusableFileError(str(damage))
        if version not in (0, SCHEMA_VERSION):
            raise UnusableFileError(f"its schema version is {version}, not {SCHEMA_VERSION}")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
        )

    def _value(self, sql: str) -> object:
        with closing(self._connection.execute(sql)) as cursor:
            return cursor.fetchone()[0]

    def read(self) -> Contents:
        """Everything in the file."""
        found = Contents(dict(self._connection.execute("SELECT key, text FROM state")))
        rows: list[OutboxRow] = []
        dead: list[DeadLetter] = []
        for id_, receiver, text, created_at, died_at, reason in self._connection.execute(
            "SELECT id, receiver, notification, created_at, died_at, reason FROM outbox ORDER BY id"
        ):
            try:
                row = OutboxRow(
                    id_, receiver, Notification.from_json(text), created_at, resumed=True
                )
                if died_at is None:
                    rows.append(row)
                else:
                    dead.append(DeadLetter(row, died_at, Reason(reason)))
            except (ValueError, AttributeError):
                found.unreadable += 1
        found.rows, found.dead = tuple(rows), tuple(dead)
        return found

    def apply(self, changes: Changes) -> None:
        """Write all of `changes` in one transaction, or nothing of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._apply(changes)
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _apply(self, changes: Changes) -> None:
        many = self._connection.executemany
        many(
            "INSERT INTO state VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET text = excluded.text",
            [(key, _storable(text)) for key, text in changes.states.items() if text is not None],
        )
        many(
            "DELETE FROM state WHERE key = ?",
            [(key,) for key, text in changes.states.items() if text is None],
        )
        many(
            "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?)",
            [_columns(row) for row in changes.rows.values() if row is not None],
        )
        many(
            "DELETE FROM outbox WHERE id = ?",
            [(id_,) for id_, row in changes.rows.items() if row is None],
        )

    def close(self) -> None:
        """Close the file; SQLite folds the write-ahead log into it."""
        self._connection.close()


def _columns(item: OutboxRow | DeadLetter) -> tuple[object, ...]:
    dead = item if isinstance(item, DeadLetter) else None
    row = item.row if isinstance(item, DeadLetter) else item
    text = row.notification.to_json()
    ending = (dead.died_at, dead.reason.value) if dead else (None, None)
    return (row.id, row.receiver, text, row.created_at, *ending)


def _storable(text: str) -> str:
    """`text` as UTF-8 can hold it: half a character would fail the whole transaction."""
    return text.encode("utf-8", "backslashreplace").decode()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is broken, rather than the disk full or busy."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def move_aside(path: Path) -> Path:
    """Rename the file at `path`, and its log, to the first free `.corrupt-N`; the new name.

    Raises:
        OSError: the directory does not let us.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)
    return aside
