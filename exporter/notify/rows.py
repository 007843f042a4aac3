"""The values that go between the outbox on disk and the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass, field

from exporter.alerting.notification import Notification
from exporter.notify.receiver import Reason

#: How long a transition may wait for the disk before its notifications are sent all the same.
COMMIT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One notification for one receiver. Ids grow with time, over restarts too.

    `created_at` is Unix seconds. `resumed` is whether an earlier process wrote it, or another
    worker had it: it may have been sent.
    """

    id: int
    receiver: str
    notification: Notification
    created_at: float
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A notification that was given up, when (Unix seconds), and why."""

    row: OutboxRow
    died_at: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class CommitResult:
    """`error` says why the rows are not on disk yet, where they are not; it holds no secret."""

    rows: tuple[OutboxRow, ...]
    on_disk: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether what is decided survives a restart.

    `unsaved` counts states and rows that are only in memory, `dead` the dead letters, `slow` the
    commits that did not reach the disk in time. `notice` tells of a file that was moved aside.
    """

    writable: bool
    error: str = ""
    notice: str = ""
    unsaved: int = 0
    dead: int = 0
    slow: int = 0


@dataclass(slots=True)
class Contents:
    """What a database file held when it was opened."""

    states: dict[str, str] = field(default_factory=dict)
    rows: tuple[OutboxRow, ...] = ()
    dead: tuple[DeadLetter, ...] = ()
    unreadable: int = 0
    """Rows that no notification could be made of."""

    def removed(self) -> Changes:
        """The changes that leave nothing of it."""
        ids = [row.id for row in self.rows] + [letter.row.id for letter in self.dead]
        return Changes(dict.fromkeys(self.states), dict.fromkeys(ids))


@dataclass(frozen=True, slots=True)
class Changes:
    """What is not on disk yet: the newest value of each key and row, None for one that goes."""

    states: dict[str, str | None] = field(default_factory=dict)
    rows: dict[int, OutboxRow | DeadLetter | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states) + len(self.rows)

    def under(self, newer: Changes) -> Changes:
        """These changes with `newer` ones over them."""
        return Changes(self.states | newer.states, self.rows | newer.rows)
