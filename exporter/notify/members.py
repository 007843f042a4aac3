"""The members of one Alertmanager cluster, each told by itself.

They tell one another of notifications, never of alerts: every member must be sent every alert, and
one that hangs must delay no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from exporter.notify.http import Poster, Reply
from exporter.notify.receiver import DeliveryError, Reason

_ACCEPTED = 200
_PATH = "/api/v2/alerts"
_HINTS = {
    Reason.AUTH: "; check its log-in",
    Reason.GONE: "; check urls: the base address, without /api",
    Reason.REDIRECT: "; redirects are not followed, give the final address",
}


class Member:
    """One Alertmanager, with a thread of its own that has one request under way at a time."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url.rstrip("/") + _PATH
        self._poster = Poster(timeout)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="alertmanager")
        self._last: Future[None] | None = None

    def begin(self, body: bytes, headers: Mapping[str, str]) -> Future[None] | None:
        """Send `body`; None while an earlier request has no answer yet."""
        if self._last is not None and not self._last.done():
            return None
        self._last = self._executor.submit(self._post, body, headers)
        return self._last

    def _post(self, body: bytes, headers: Mapping[str, str]) -> None:
        check(self._poster.post(self._url, body, headers))

    @property
    def behind(self) -> bool:
        """Whether it may lack something: its last request failed, or has no answer yet."""
        last = self._last
        return last is not None and (not last.done() or last.exception() is not None)


class Members:
    """All members. `post` is called from one thread at a time."""

    def __init__(self, urls: Sequence[str], timeout: float) -> None:
        self._members = tuple(Member(url, timeout) for url in urls)
        self._missed: set[int] = set()

    @property
    def behind(self) -> bool:
        """Whether some member may lack what another has."""
        return bool(self._missed) or any(member.behind for member in self._members)

    def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send `body` to every member; returns as soon as one of them has accepted it.

        Raises:
            DeliveryError: none did. It is permanent only if every member refused it for good.
        """
        begun: set[Future[None]] = set()
        self._missed.clear()
        for index, member in enumerate(self._members):
            future = member.begin(body, headers)
            if future is None:
                self._missed.add(index)
            else:
                begun.add(future)
        _first_success(begun, complete=not self._missed)


def _first_success(waiting: set[Future[None]], *, complete: bool) -> None:
    errors: list[DeliveryError] = []
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for each in done:
            error = each.exception()
            if error is None:
                return
            if not isinstance(error, DeliveryError):
                raise error
            errors.append(error)
    if not errors:
        raise DeliveryError(Reason.TIMEOUT, "no member has answered yet", ambiguous=True)
    passing = [each for each in errors if not each.permanent]
    if passing or complete:
        raise (passing or errors)[0]
    raise DeliveryError(errors[0].reason, errors[0].message, ambiguous=True)


def check(reply: Reply) -> None:
    """Return if Alertmanager accepted the alerts: status 200.

    Raises:
        DeliveryError: it did not. Valid alerts beside an invalid one are stored all the same.
    """
    if reply.status == _ACCEPTED:
        return
    reason = reply.reason
    raise reply.refusal(reason, f"Alertmanager answered {reply.status}{_HINTS.get(reason, '')}")
