"""How many files the process may have open, of which every endpoint needs some."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

#: Files that an endpoint may have open, its session, its probe and what replaces one, and all else:
#: two hundred clients of the pages, half of them only coming, and our own.
_FILES_EACH, _FILES_BESIDES = 4, 300


def allow_files(endpoints: int) -> None:
    """Raise the soft limit of open files, often 1024, as far as so many endpoints need it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = endpoints * _FILES_EACH + _FILES_BESIDES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        keys = {"endpoints": endpoints, "allowed": allowed, "wanted": wanted}
        log.warning("too few open files are allowed; raise LimitNOFILE", extra=keys)
