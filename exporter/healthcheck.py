"""Asks a running pgheadroom whether it is ready, as a container does."""

from __future__ import annotations

import time

from exporter.remote import RefusedError, Remote

#: From one try to the next.
_PAUSE_SECONDS = 0.5


def trouble(remote: Remote, seconds: float, *, servers: bool = False) -> str:
    """What keeps `remote` from being well; empty when nothing does.

    Args:
        remote: the pgheadroom that is asked.
        seconds: how long to go on asking until it is well; 0 asks once.
        servers: whether every server has to be seen too, not only pgheadroom be ready.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = _asked(remote, servers=servers)
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _asked(remote: Remote, *, servers: bool) -> str:
    try:
        remote.text("/readyz")
        return _unseen(remote) if servers else ""
    except RefusedError as error:
        return str(error)
    except (KeyError, TypeError):
        return f"{remote.url} answers, but not as pgheadroom does"


def _unseen(remote: Remote) -> str:
    """The servers that are not seen, and why."""
    found = remote.ask("GET", "/api/v1/holders")["servers"]
    return "; ".join(
        f"{each['server']} is not seen: {each['failure']}" for each in found if not each["up"]
    )
