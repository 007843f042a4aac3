"""Silences as people change them: on disk before they are confirmed, or with a warning."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence

from exporter.alerting.silences import (
    Changed,
    Silence,
    SilenceState,
    remembered,
    requested,
    silences_from_json,
    silences_to_json,
)
from exporter.poll.desk import Journal
from exporter.poll.quiet import Quiet

log = logging.getLogger(__name__)

#: Under which the journal keeps the silences.
SILENCES = "silences"
#: More than that is a script that does not expire its own.
MOST_SILENCES = 1000


class Silencing:
    """The silences of the process.

    What changes holds from the next decision on; `changed` is called so that it comes soon.
    """

    def __init__(
        self,
        quiet: Quiet,
        journal: Journal,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._quiet = quiet
        self._journal = journal
        self._changed = changed
        quiet.silences, left = silences_from_json(journal.load(SILENCES) or "[]")
        for each in left:
            log.warning("kept silence not understood", extra={"silence": each})

    @property
    def now(self) -> float:
        """Unix seconds by the machine's clock, by which silences hold."""
        return self._quiet.clock()

    def listed(self) -> Sequence[Silence]:
        """Every silence, those that were over a day ago left out; the next to end first."""
        found = remembered(self._quiet.silences, self.now)
        return sorted(found, key=lambda each: (each.ends_at, each.id))

    @property
    def active(self) -> int:
        """How many silences hold now."""
        now = self.now
        return sum(each.state(now) is SilenceState.ACTIVE for each in self._quiet.silences)

    async def add(self, raw: object) -> Changed:
        """Begin, or plan, the silence that `raw` asks for.

        Raises:
            ValueError: it cannot be had; a line for each thing that is wrong.
        """
        now = self.now
        known = remembered(self._quiet.silences, now)
        made = requested(raw, secrets.token_hex(4), now)
        if sum(each.state(now) is not SilenceState.EXPIRED for each in known) >= MOST_SILENCES:
            raise ValueError(f"there are {MOST_SILENCES} silences already; expire some of them")
        warning = await self._put((*known, made))
        log.info("silence added", extra=_keys(made))
        return Changed(made, warning)

    async def expire(self, silence_id: str) -> Changed | None:
        """End a silence now; None where there is none of that id."""
        now = self.now
        found = next((each for each in self._quiet.silences if each.id == silence_id), None)
        if found is None:
            return None
        if found.state(now) is SilenceState.EXPIRED:
            return Changed(found)
        ended = found.ended(now)
        silences = self._quiet.silences
        warning = await self._put(tuple(ended if each is found else each for each in silences))
        log.info("silence expired", extra=_keys(ended))
        return Changed(ended, warning)

    async def _put(self, silences: tuple[Silence, ...]) -> str:
        """Have `silences` hold; what is to be said of how they are kept, or nothing."""
        self._quiet.silences = silences
        error = await self._journal.commit({SILENCES: silences_to_json(silences)}, ())
        self._changed()
        return f"a restart now would forget it, state_dir is not written: {error}" if error else ""


def _keys(silence: Silence) -> dict[str, str]:
    matchers = ", ".join(matcher.text for matcher in silence.matchers)
    return {"silence": silence.id, "author": silence.author, "matchers": matchers}
