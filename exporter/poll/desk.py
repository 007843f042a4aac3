"""What all watches of the process share: the rules, the board, the journal, the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from exporter.alerting.board import Board
from exporter.alerting.notification import Notification
from exporter.poll.quiet import Quiet
from exporter.rules.evaluate import RuleSet


class Journal(Protocol):
    """Where what must not be lost goes."""

    async def commit(
        self, states: Mapping[str, str], notifications: Sequence[tuple[str, Notification]]
    ) -> str:
        """Keep the states and send the notifications, the disk first as long as it answers.

        Why they are not on disk yet, or nothing.
        """

    def save_soon(self, key: str, text: str) -> None:
        """Keep `text` under `key` when there is time."""

    def load(self, key: str) -> str | None:
        """What was kept under `key`."""


@dataclass(slots=True)
class Desk:
    """What all watches of the process share. A reload replaces the rules and the names."""

    rules: RuleSet
    board: Board
    journal: Journal
    clock: Callable[[], float]
    quiet: Quiet = field(default_factory=Quiet)
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The receivers that the last reload gave another name, by the earlier one."""
