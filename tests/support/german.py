"""A server that speaks German: Debian's, because the other builds have no translations in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.binaries import cache
from tests.support.debian import MissingError, unpacked

MAJOR = 15
LOCALE = "de_DE.utf8"
_SUITE = "bookworm"
_BIN = f"usr/lib/postgresql/{MAJOR}/bin"
_WORDS = f"usr/share/locale/de/LC_MESSAGES/postgres-{MAJOR}.mo"


def german() -> tuple[Path, dict[str, str]]:
    """The folder of its programs, and the environment in which they find German.

    Raises:
        MissingError: it cannot be had here; the text names the command that failed.
    """
    # LD_LIBRARY_PATH would also reach this machine's programs; installed, the server needs none.
    if all(Path("/", part).exists() for part in (f"{_BIN}/postgres", f"{_BIN}/initdb", _WORDS)):
        return Path("/", _BIN), {"LOCPATH": str(_locale())}
    root = unpacked(_SUITE, f"postgresql-{MAJOR}")
    libraries = sorted({str(each.parent) for each in root.glob("**/lib*.so*") if not _libc(each)})
    return root / _BIN, {"LOCPATH": str(_locale()), "LD_LIBRARY_PATH": ":".join(libraries)}


def _libc(library: Path) -> bool:
    return library.name.startswith(("libc.so", "ld-linux", "libm.so", "libpthread"))


def _locale() -> Path:
    """A folder with the German locale alone, as localedef makes it."""
    folder = cache() / f"locale-{LOCALE}"
    if folder.exists():
        return folder
    if shutil.which("localedef") is None:
        raise MissingError("no localedef; install it: apt-get install libc-bin")
    definitions = Path("/usr/share/i18n")
    if not (definitions / "locales" / "de_DE").exists():
        definitions = unpacked(_SUITE, "locales", libraries=False) / "usr/share/i18n"
    cache().mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        made = Path(name) / "made"
        made.mkdir(mode=0o755)
        command = ["localedef", "-i", "de_DE", "-f", "UTF-8", "--no-archive", str(made / LOCALE)]
        environ = os.environ | {"I18NPATH": str(definitions)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        if done.returncode != 0:
            raise MissingError(f"localedef failed: {done.stderr.strip()}")
        try:
            made.rename(folder)
        except OSError:
            # Another process may have made the same one.
            if not folder.exists():
                raise
    return folder
