"""What the store knows, whether it is on disk yet or not. Not thread-safe, and without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from exporter.alerting.notification import Notification
from exporter.notify.receiver import Reason
from exporter.notify.rows import Changes, Contents, DeadLetter, OutboxRow

#: Enough to see what went wrong; a receiver that is gone for months must not fill the disk.
MOST_DEAD_LETTERS = 1000


class Memory:
    """States, pending rows and dead letters, and which of them the disk does not have."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.rows: dict[int, OutboxRow] = {}
        self.dead: dict[int, DeadLetter] = {}
        self.unsaved = Changes()
        self._last_id = 0

    def adopt(self, contents: Contents) -> tuple[OutboxRow, ...]:
        """Take over what an earlier process left; what is known already is newer. Its rows."""
        self.states = contents.states | self.states
        self.rows = {row.id: row for row in contents.rows} | self.rows
        self.dead = {letter.row.id: letter for letter in contents.dead} | self.dead
        self._last_id = max((self._last_id, *self.rows, *self.dead))
        return contents.rows

    def put(
        self,
        states: Mapping[str, str],
        notifications: Sequence[tuple[str, Notification]],
        at: float,
    ) -> tuple[OutboxRow, ...]:
        """Remember `states` and a new row for each (receiver, notification)."""
        rows = tuple(
            OutboxRow(self._next_id(at), receiver, notification, at)
            for receiver, notification in notifications
        )
        self.states.update(states)
        self.unsaved.states.update(states)
        for row in rows:
            self.rows[row.id] = self.unsaved.rows[row.id] = row
        return rows

    def _next_id(self, at: float) -> int:
        """Microseconds since 1970, or one more than the last: in order over restarts too."""
        self._last_id = max(self._last_id + 1, int(at * 1e6))
        return self._last_id

    def forget(self, key: str) -> None:
        """Remove a state."""
        if self.states.pop(key, None) is not None:
            self.unsaved.states[key] = None

    def settle(self, row_ids: Iterable[int]) -> None:
        """Remove rows."""
        for row_id in row_ids:
            if self.rows.pop(row_id, None) is not None:
                self.unsaved.rows[row_id] = None

    def rename(self, receiver: str, name: str) -> tuple[OutboxRow, ...]:
        """Let what is pending, or dead, for `receiver` be for `name`; what is pending of it."""
        moved = {
            row.id: replace(row, receiver=name, resumed=True)
            for row in self.rows.values()
            if row.receiver == receiver
        }
        dead = {
            letter.row.id: replace(letter, row=replace(letter.row, receiver=name))
            for letter in self.dead.values()
            if letter.row.receiver == receiver
        }
        self.rows |= moved
        self.dead |= dead
        self.unsaved.rows.update({**moved, **dead})
        return tuple(moved.values())

    def bury(self, row_id: int, at: float, reason: Reason) -> None:
        """Turn a row into a dead letter."""
        row = self.rows.pop(row_id, None)
        if row is None:
            return
        self.dead[row_id] = self.unsaved.rows[row_id] = DeadLetter(row, at, reason)
        for oldest in list(self.dead)[:-MOST_DEAD_LETTERS]:
            del self.dead[oldest]
            self.unsaved.rows[oldest] = None

    def take_unsaved(self) -> Changes:
        """What the disk does not have; from now on it is expected to have it."""
        unsaved, self.unsaved = self.unsaved, Changes()
        return unsaved

    def give_back(self, unsaved: Changes) -> None:
        """`unsaved` could not be written; what has changed since is newer."""
        self.unsaved = unsaved.under(self.unsaved)

    def everything_over(self, unsaved: Changes) -> Changes:
        """All that a file must have whose contents are not known, including what goes."""
        return unsaved.under(Changes(dict(self.states), {**self.rows, **self.dead}))
