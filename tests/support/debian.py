"""Programs from Debian packages of any suite, unpacked beside the system and never installed.

A package is unpacked with the libraries that it needs, its own libc among them, and started through
that libc's loader. Everything is kept outside of the checkout.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.binaries import cache

_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SECONDS = 300


class MissingError(Exception):
    """A package cannot be had here; the text names the command that failed."""


@functools.cache
def unpacked(suite: str, package: str, *, libraries: bool = True) -> Path:
    """The folder that `package` of `suite` was unpacked into, as if it were `/`.

    Args:
        suite: such as "bookworm", "trixie" or "sid".
        package: its name.
        libraries: False for programs that are linked statically.

    Raises:
        MissingError: it cannot be fetched.
    """
    root = cache() / f"{package}-{suite}"
    if root.exists():
        return root
    if shutil.which("apt-get") is None:
        raise MissingError(f"{package} of {suite} comes by apt-get, which is missing")
    cache().mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as name:
        folder = Path(name)
        apt = _Apt(suite, folder)
        target = folder / "root"
        for archive in apt.download(apt.needs(package) if libraries else [package]):
            _run(["dpkg", "-x", str(archive), str(target)], folder)
        target.chmod(0o755)
        try:
            target.rename(root)
        except OSError:
            # Another process may have made the same one.
            if not root.exists():
                raise
    return root


def command(root: Path, program: str) -> list[str]:
    """How to start `program` (a path below `root`) with the libraries that came with it."""
    (loader, *_) = [*root.glob("usr/lib64/ld-linux-*"), *root.glob("lib64/ld-linux-*")]
    folders = sorted({str(each.parent) for each in root.glob("**/lib*.so*") if each.is_file()})
    return [str(loader), "--library-path", ":".join(folders), str(root / program)]


class _Apt:
    """apt-get over one suite, in a folder of its own, that knows of no installed package."""

    def __init__(self, suite: str, folder: Path) -> None:
        self._folder = folder
        for part in ("lists/partial", "cache/archives/partial", "root"):
            (folder / part).mkdir(parents=True)
        sources = folder / "sources.list"
        signed = f"[signed-by={_KEYRING}] " if Path(_KEYRING).exists() else ""
        sources.write_text(f"deb {signed}{_mirror()} {suite} main\n")
        (folder / "status").touch()
        self._options = [
            f"Dir::Etc::sourcelist={sources}",
            "Dir::Etc::sourceparts=/dev/null",
            f"Dir::State::lists={folder / 'lists'}",
            f"Dir::State::status={folder / 'status'}",
            f"Dir::Cache={folder / 'cache'}",
            # The folder is ours alone, and apt's own user could not write to it.
            "APT::Sandbox::User=root",
        ]
        self._get("update", "-qq")

    def needs(self, package: str) -> list[str]:
        """The package and the libraries among all that it depends on."""
        said = self._get("install", "-s", "--no-install-recommends", package)
        names = re.findall(r"^Inst (\S+)", said, re.MULTILINE)
        return [name for name in names if name == package or re.match(r"lib(?!.*perl)", name)]

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The archives of `packages`."""
        self._get("download", "-qq", *packages)
        return sorted(self._folder.glob("*.deb"))

    def _get(self, *words: str) -> str:
        options = [part for option in self._options for part in ("-o", option)]
        return _run(["apt-get", *options, *words], self._folder)


def _mirror() -> str:
    """Where this machine gets its packages from."""
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *apt.glob("sources.list.d/*")]
    text = "\n".join(file.read_text(errors="replace") for file in files if file.is_file())
    found = re.search(r"https?://\S+/debian/?(?=\s)", text)
    return found[0] if found else _MIRROR


def _run(words: Sequence[str], folder: Path) -> str:
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS,
            env=environ,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{' '.join(words)} took too long") from error
    if done.returncode != 0:
        raise MissingError(f"{' '.join(words)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout
