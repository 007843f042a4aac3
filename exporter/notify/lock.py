"""One process for one state_dir: a lock that the kernel drops with its holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path

#: What flock says on file systems that have no locks, as some network file systems do.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class StateDirBusyError(RuntimeError):
    """Another process uses this state_dir."""


class DirectoryLock:
    """Held from construction to `release`; `held` is false where the file system has no locks.

    Raises:
        StateDirBusyError: another process holds it.
        OSError: the lock file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.held = False
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._file = os.open(directory / "lock", flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.held = True
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            holder = _holder(self._file)
            os.close(self._file)
            raise StateDirBusyError(
                f"state_dir {directory} is in use by another pgheadroom{holder};"
                " give each its own state_dir, or stop the other one"
            ) from None
        with contextlib.suppress(OSError):  # a full disk; the pid is only for the message above
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._file)


def _holder(file: int) -> str:
    pid = os.pread(file, 20, 0).decode("ascii", "replace").strip()
    return f" (pid {pid})" if pid.isdigit() else ""
