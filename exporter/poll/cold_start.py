"""A start without state: what an earlier process left open at a pager is ended in the end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from exporter.alerting.cold_start import families, families_of, forgotten, muted_for
from exporter.alerting.incidents import Incidents
from exporter.alerting.message import Sender
from exporter.poll.desk import Desk
from exporter.poll.own import SelfWatch

log = logging.getLogger(__name__)

#: Under which the journal keeps which endpoints are done; not there unless a start had no state.
KEY = "cold_start"
_OVER = "over"


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """One that may have left something open."""

    key: str
    server: str
    families: tuple[str, ...]
    incidents: Incidents
    healthy: bool


class ColdStart:
    """Watches over the first minutes of a process that found no state.

    Args:
        desk: of the servers and poolers.
        own: the watch over pgheadroom itself.
        own_desk: its rules.
        sender: as in every notification, as configured now.
        pagers: the receivers that know incidents by their key, as configured now.
        seconds: how long an endpoint must have been well; None: nothing is ended.
    """

    def __init__(  # noqa: PLR0913, PLR0917  the parts, each made by the app
        self,
        desk: Desk,
        own: SelfWatch,
        own_desk: Desk,
        sender: Callable[[], Sender],
        pagers: Callable[[], Sequence[str]],
        seconds: Callable[[], float | None],
    ) -> None:
        self._desk = desk
        self._own = own
        self._own_desk = own_desk
        self._sender = sender
        self._pagers = pagers
        self._seconds = seconds
        self._healthy_since: dict[str, float] = {}
        self._done: set[str] = set()
        self.over = False
        """Whether there is nothing more to do."""

    def begin(self, *, empty: bool) -> bool:
        """Take up what was kept, or begin where nothing was; whether there is anything to do."""
        kept = self._desk.journal.load(KEY)
        if kept is None and empty:
            self._keep("[]")
        elif kept is None or kept == _OVER:
            return False
        else:
            self._done = _names(kept)
        return True

    async def turn(self) -> None:
        """End what may have been left open of each endpoint that has been well for long enough."""
        seconds = self._seconds()
        if seconds is None:
            return
        now = self._desk.clock()
        endpoints = tuple(self._endpoints())
        for each in endpoints:
            if not each.healthy:
                self._healthy_since.pop(each.key, None)
            elif each.key not in self._done:
                since = self._healthy_since.setdefault(each.key, now)
                muted = muted_for(self._pagers(), each.incidents)
                if now - since >= seconds and not muted:
                    await self._end(each, now)
        if self._done.issuperset(each.key for each in endpoints):
            self._keep(_OVER)
            self.over = True

    def _endpoints(self) -> Iterator[_Endpoint]:
        rules = self._desk.rules.rules
        for entry in self._desk.board.endpoints:
            state = entry.state
            found = families_of(entry, rules)
            healthy = state.up and entry.turns > 0
            key = f"{state.server}\n{entry.name}"
            yield _Endpoint(key, state.server, found, entry.book.incidents, healthy)
        own = families(self._own_desk.rules.rules)
        yield _Endpoint("", "pgheadroom", own, self._own.book.incidents, healthy=True)

    async def _end(self, endpoint: _Endpoint, now: float) -> None:
        told = forgotten(
            endpoint.server,
            endpoint.families,
            endpoint.incidents,
            self._pagers(),
            self._sender(),
            now,
        )
        self._done.add(endpoint.key)
        states = {KEY: json.dumps(sorted(self._done))}
        keys = {"server": endpoint.server, "notifications": len(told)}
        log.info("ending what an earlier process may have left open", extra=keys)
        await self._desk.journal.commit(states, told)

    def _keep(self, text: str) -> None:
        self._desk.journal.save_soon(KEY, text)


def _names(text: str) -> set[str]:
    """The names of a kept list; none where it is not understood: to end twice does no harm."""
    try:
        found = json.loads(text)
    except ValueError:
        return set()
    return {str(name) for name in found} if isinstance(found, Iterable) else set()
