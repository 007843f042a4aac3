"""pgheadroom's turn over itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

from exporter.alerting.alerter import Alerter, Book
from exporter.metrics.families import Families
from exporter.poll.desk import Desk
from exporter.rules.evaluate import Index
from exporter.snapshot.server import ServerState

log = logging.getLogger(__name__)


class SelfWatch:
    """pgheadroom's watch over itself: the same decisions, over series that no server has."""

    def __init__(self, families: Callable[[], Families], alerter: Alerter, desk: Desk) -> None:
        self._families = families
        self._alerter = alerter
        self._desk = desk
        load = desk.journal.load
        try:
            self.book = Book.from_json(load("alerts"), load("incidents"))
        except ValueError as error:
            log.warning("kept state not understood, beginning anew", extra={"error": str(error)})
            self.book = Book()

    def follow(self, alerter: Alerter) -> None:
        """Go on with another alerter; the alerts and incidents stay."""
        self._alerter = alerter
        if self._desk.renamed:
            self.book = self.book.renamed(self._desk.renamed)
            for key, text in self.book.to_json().items():
                self._desk.journal.save_soon(key, text)

    async def turn(self) -> None:
        """Evaluate the rules about pgheadroom, and decide."""
        now = self._desk.clock()
        results = self._desk.rules.evaluate(Index.of(self._families()))
        # An observed server without slots: absence is evidence here, and no numbers are claimed.
        state = ServerState("pgheadroom")
        around = self._desk.quiet.around(state.server)
        decision = self._alerter.decide(
            self.book, results, state, None, now, observed=True, around=around
        )
        self.book = decision.book
        self._desk.quiet.fires(state.server, decision.firing)
        if decision.notifications or decision.ended:
            await self._desk.journal.commit(self.book.to_json(), decision.notifications)
