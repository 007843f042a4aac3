"""The image, built without a registry on a base of this machine's own Debian packages, and run.

buildah builds and runc runs, both as root and without a daemon. What is built stays in the cache,
so that only what changed is built again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.binaries import cache
from tests.support.parts import lacking

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/pgheadroom-test"
#: A Python with its venv module, certificates, a shell and what a shell calls; and a library that
#: no Debian is without, because apt needs it.
_PACKAGES = (
    *("base-files", "ca-certificates", "coreutils", "dash", "python3", "python3-venv", "sed"),
    "libstdc++6",
)
#: The base is made once for each such list.
BASE = f"localhost/pgheadroom-test-base:{zlib.crc32(' '.join(_PACKAGES).encode()):08x}"
#: What is made when packages are installed, and belongs to none.
_MADE = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/ld.so.cache")
_INFO = Path("/var/lib/dpkg/info")
_BUILD_SECONDS = 900


def missing() -> str:
    """Why no image can be built here; empty when it can."""
    for program in ("buildah", "runc", "dpkg-query"):
        if shutil.which(program) is None:
            return f"no {program}; sudo apt-get install buildah runc, on Debian"
    gone = [name for name in _PACKAGES if name not in _depends()]
    return f"no base: sudo apt-get install {' '.join(gone)}" if gone else ""


# --- the base


@functools.cache
def _depends() -> Mapping[str, list[str]]:
    """What each installed package depends on: of alternatives those that are installed."""
    shown = "${db:Status-Abbrev}\t${Package}\t${Pre-Depends}, ${Depends}\n"
    command = ["dpkg-query", "--show", f"--showformat={shown}"]
    said = subprocess.check_output(command, text=True)
    rows = [line.split("\t") for line in said.splitlines() if line.startswith("ii")]
    return {row[1]: re.findall(r"[a-z0-9][a-z0-9+.-]+(?=[\s,|:(]|$)", row[2]) for row in rows}


def _closure() -> set[str]:
    found: set[str] = set()
    left = list(_PACKAGES)
    while left:
        name = left.pop()
        if name not in found and name in _depends():
            found.add(name)
            left += _depends()[name]
    return found


def _files() -> Iterator[Path]:
    """Every file and folder of the packages, by where it really is."""
    for name in sorted(_closure()):
        lists = [*_INFO.glob(f"{name}.list"), *_INFO.glob(f"{name}:*.list")]
        for line in "".join(each.read_text() for each in lists).splitlines():
            path = Path(line)
            if path.parts[1:4] not in (("usr", "share", "doc"), ("usr", "share", "man")):
                yield Path(os.path.realpath(path.parent)) / path.name
    for made in map(Path, _MADE):
        yield from [made, *(made.rglob("*") if made.is_dir() else ())]
    # Where /usr is merged, these are links that belong to no package.
    yield from (
        Path(link) for link in ("/bin", "/sbin", "/lib", "/lib64") if Path(link).is_symlink()
    )


def _pack_base(archive: Path) -> None:
    with tarfile.open(archive, "w") as packed:
        for path in dict.fromkeys(_files()):
            if path.exists() or path.is_symlink():
                packed.add(path, recursive=False)
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        packed.addfile(tmp)


# --- buildah


def _buildah(*words: str | Path) -> str:
    store = cache() / "containers"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = store / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{store}/graph"\nrunroot = "{store}/run"\n'
    )
    environ = {"CONTAINERS_STORAGE_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(
        ["buildah", *map(str, words)],  # noqa: S607  Debian's
        cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False,
        timeout=_BUILD_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def build(folder: Path) -> None:
    """Build the image of this checkout."""
    if not _buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        _pack_base(folder / "base.tar")
        name = _buildah("from", "scratch")
        _buildah("add", "--quiet", name, folder / "base.tar", "/")
        _buildah("commit", "--quiet", "--rm", name, BASE)
    arguments = ["--build-arg", f"BASE_IMAGE={BASE}", "--build-arg", "REVISION=0123abc"]
    _buildah("bud", "--layers", "--network", "host", *arguments, "--tag", IMAGE, ".")


def image_config() -> dict[str, Any]:
    """What the image says of itself."""
    found: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", IMAGE))
    return dict(found["OCIv1"]["config"])


@contextlib.contextmanager
def root_folder() -> Iterator[Path]:
    """The image's files."""
    name = _buildah("from", "--pull-never", IMAGE)
    try:
        yield Path(_buildah("mount", name))
    finally:
        _buildah("rm", name)


# --- runc


def bundle(
    folder: Path, root: Path, words: Sequence[str], mounts: Mapping[str, Path]
) -> tuple[list[str], dict[str, Any]]:
    """How to run the image's process as the chart does: read-only, as 65532, without capabilities.

    `mounts` are folders by their place inside; the first is the one that may be written to. The
    network is this machine's. The process id, as seen from here, is put into the file `pid`.
    """
    config = image_config()
    subprocess.run(["runc", "spec", "--bundle", str(folder)], check=True)  # noqa: S607  Debian's
    spec = json.loads((folder / "config.json").read_text())
    spec["process"] |= {
        "terminal": False,
        "user": dict(zip(("uid", "gid"), map(int, config["User"].split(":")), strict=True)),
        "args": [*config["Entrypoint"], *words],
        "env": config["Env"],
        "cwd": config["WorkingDir"],
        "noNewPrivileges": True,
        "capabilities": {kind: [] for kind in spec["process"]["capabilities"]},
    }
    spec["root"] = {"path": str(root), "readonly": True}
    shared = ("network", "cgroup")
    kinds = spec["linux"]["namespaces"]
    spec["linux"]["namespaces"] = [each for each in kinds if each["type"] not in shared]
    spec["mounts"] = [each for each in spec["mounts"] if each["type"] != "cgroup"]
    for index, (place, source) in enumerate(mounts.items()):
        options = ["bind", "ro" if index else "rw"]
        spec["mounts"].append(
            {"destination": place, "type": "bind", "source": str(source), "options": options}
        )
    (folder / "config.json").write_text(json.dumps(spec))
    options = ["--bundle", str(folder), "--pid-file", str(folder / "pid")]
    return ["runc", "run", *options, f"pgheadroom-test-{os.getpid()}"], spec


def needed() -> None:
    """What building and running the image takes."""
    if os.geteuid() != 0:
        pytest.skip("building and running without a daemon needs root here")
    reason = missing()
    if reason:
        lacking(f"the image was not built: {reason}")
