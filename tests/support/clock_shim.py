"""A wall clock that tests can step: a preloaded library shifts CLOCK_REALTIME of one process."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tests.support.parts import program

SOURCE = Path(__file__).with_name("clock_shim.c")


class WallClock:
    """The wall clock of every process that runs with `environ`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock_shift"
        self.environ = {
            "LD_PRELOAD": str(built(SOURCE, folder)),
            "CLOCK_SHIM_FILE": str(self._file),
        }
        self._file.write_bytes(struct.pack("=q", 0))

    def step(self, seconds: int) -> None:
        """From now on the clock shows `seconds` more than it would; less where that is negative."""
        # In place: the file is mapped, another one of its name would not be seen.
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))


def built(source: Path, folder: Path) -> Path:
    """The library of `source`."""
    compiler = program("cc", "gcc libc6-dev")
    library = folder / f"{source.stem}.so"
    options = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror")
    subprocess.run([compiler, *options, "-o", library, source, "-ldl"], check=True)
    return library
