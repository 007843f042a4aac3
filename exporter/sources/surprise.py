"""What nobody foresaw in an answer: a failure like any other, because blindness must page."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from exporter.snapshot.server import Failure, Reason
from exporter.sources.errors import SourceError

log = logging.getLogger(__name__)

_HINT = "is that a Postgres or a PgBouncer? the log has a traceback; please report it"


class Surprise:
    """Makes failures of exceptions that are no error of the server, the network or the DSN.

    What fakes a server may answer with anything, and so may a fork or a version of tomorrow. The
    traceback is logged once, and again when the exception is another one.

    Args:
        name: of the server or pooler, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = ""

    def failure(self, error: Exception) -> Failure:
        """The failure that `error` is."""
        if repr(error) != self._last:
            self._last = repr(error)
            log.error("an answer was not understood", exc_info=error, extra={"server": self._name})
        return Failure(Reason.ERROR, f"not understood: {type(error).__name__}", _HINT)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Have the block raise nothing but `SourceError`."""
        try:
            yield
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(self.failure(error)) from error
