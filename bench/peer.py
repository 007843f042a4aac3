"""postgres_exporter to compare with: a static binary out of a Debian package, in a cache of ours.

The package is of Debian's unstable suite; a second apt configuration leaves the machine's alone,
and nothing is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

_PACKAGE = "prometheus-postgres-exporter"
_BINARY = f"usr/bin/{_PACKAGE}"
_MIRROR = "http://deb.debian.org/debian"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SECONDS = 120


class PeerError(Exception):
    """There is no postgres_exporter to compare with; the text says why."""


def cache() -> Path:
    """The folder of fetched binaries, outside the checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "pgheadroom" / "bench"


def postgres_exporter() -> Path:
    """The binary, fetched when there is none in the cache.

    Raises:
        PeerError: it cannot be fetched here.
    """
    kept = sorted(cache().glob(f"{_PACKAGE}_*/{_BINARY}"))
    return kept[-1] if kept else _fetch()


def version(binary: Path) -> str:
    """Its version number, e.g. 0.19.1."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+)", said.stdout + said.stderr)
    return found[1] if found else "of unknown version"


def _fetch() -> Path:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PeerError(f"there is no {tool} on this machine")
    folder = cache() / "apt"
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} sid main\n", "utf-8")
    options = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder,
        # The cache is ours alone; apt's own user could not write there.
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", _PACKAGE], folder)
    package = max(folder.glob(f"{_PACKAGE}_*.deb"), key=lambda path: path.stat().st_mtime)
    target = cache() / package.stem
    _run(["dpkg-deb", "-x", str(package), str(target)], folder)
    shutil.rmtree(folder)
    return target / _BINARY


def _mirror() -> str:
    """This machine's Debian mirror, where its apt names one."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]
    for path in files:
        text = path.read_text("utf-8", "replace") if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb\b.*?)\s*(https?://\S+/debian)/?\s", text, re.MULTILINE)
        if found:
            return found[1]
    return _MIRROR


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise PeerError(f"{command[0]} failed: {done.stderr.strip()}")
