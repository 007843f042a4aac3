"""A disk that fails or dawdles: a preloaded library stands between a process and its state_dir."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.clock_shim import built

SOURCE = Path(__file__).with_name("disk_shim.c")


class StateDisk:
    """The disk below `directory`, for every process that runs with `environ`."""

    def __init__(self, folder: Path, directory: Path) -> None:
        self._file = folder / "disk_trouble"
        self._file.write_bytes(struct.pack("=q", 0))
        self.environ = {
            "LD_PRELOAD": str(built(SOURCE, folder)),
            "DISK_SHIM_FILE": str(self._file),
            "DISK_SHIM_DIR": str(directory),
        }

    def fail(self, errno: int) -> None:
        """From now on every write fails with `errno`; 0: none does."""
        self._put(errno)

    def dawdle(self, seconds: float) -> None:
        """From now on every write and every sync takes `seconds` more."""
        self._put(-round(seconds * 1000))

    def _put(self, value: int) -> None:
        # In place: the file is mapped, another one of its name would not be seen.
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", value))
