"""The `pgheadroom` command; `python -m exporter` is the same."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run the command that the arguments name."""
    if os.getpid() == 1:
        # The first process of a container is not ended by a signal that it does not handle, and it
        # may be told to end while the imports below are still under way.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if sys.argv[1:2] == ["run"]:
        # It asks for a reload, and the files are yet to be read; by default it ends the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from exporter.cli import main as command  # noqa: PLC0415  that takes a second on a busy machine

    try:
        command()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up(error)


def _give_up(error: OSError) -> NoReturn:
    """What was printed went to a full disk; what is left of it must not be tried again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(f"pgheadroom: the output cannot be written: {error.strerror}")


if __name__ == "__main__":
    main()
