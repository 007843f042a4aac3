"""The image as a platform runs it: read-only, as 65532, without capabilities, as PID 1."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.demo.watcher import free_address
from tests.support.images import build, bundle, image_config, needed, root_folder
from tests.support.peers import get
from tests.support.receivers import eventually
from tests.support.watching import POLLING, Samples, prepare, watched

pytestmark = [pytest.mark.slow(60), pytest.mark.timeout(1200)]
TOOLS = ("pip", "pip3", "uv", "gcc", "cc", "make", "ld", "as", "easy_install")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The files of the built image."""
    needed()
    build(tmp_path_factory.mktemp("image"))
    with root_folder() as folder:
        yield folder


@pytest.mark.usefixtures("root")
def test_it_says_what_it_is():
    config = image_config()
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["pgheadroom"]
    assert "9970" in next(iter(config["ExposedPorts"]))
    labels = config["Labels"]
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_nothing_that_builds_or_installs_is_left(root):
    folders = ("usr/bin", "usr/local/bin", "opt/pgheadroom/bin", "bin", "uv/bin")
    found = [name for f in folders for name in TOOLS if (root / f / name).exists()]
    assert found == []
    assert not list((root / "opt/pgheadroom").glob("lib/python3*/site-packages/pip"))
    assert not list((root / "usr/lib").glob("python3*/ensurepip"))
    assert not (root / "src").exists()


def test_it_can_be_ended_before_it_is_up(root, tmp_path):
    """Nothing ends a first process that has no handler yet."""
    command, _ = bundle(tmp_path, root, ["run", "--config", "/dev/null"], {})
    process = run(command, tmp_path / "log")
    eventually(lambda: catches(tmp_path / "pid", signal.SIGTERM), "a handler", 60)
    process.terminate()
    assert process.wait(30) in (0, 2), "2: it had read its configuration already"


def catches(file, number):
    """Whether our process, whose id is in `file`, handles a signal; also when it has gone again."""
    if not file.exists():
        return False
    folder = Path(f"/proc/{file.read_text()}")
    try:
        command, status = (folder / "cmdline").read_text(), (folder / "status").read_text()
    except FileNotFoundError:
        return True
    if "pgheadroom" not in command:
        return False  # runc's own, which becomes ours
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def run(command, log):
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def test_it_watches_on_a_root_that_cannot_be_written(root, tmp_path, start_postgres):
    server = prepare(start_postgres(16, max_connections=20))
    state, etc, parts = (tmp_path / name for name in ("state", "etc", "bundle"))
    for folder in (state, etc, parts):
        folder.mkdir()
    os.chown(state, 65532, 65532)
    document = {
        "servers": [watched(server)],
        "polling": POLLING,
        "state_dir": "/var/lib/pgheadroom",
    }
    (etc / "pgheadroom.yaml").write_text(yaml.safe_dump(document))
    address, log = free_address(), tmp_path / "log"
    words = ["run", "--config", "/etc/pgheadroom/pgheadroom.yaml", "--listen", address]
    command, spec = bundle(
        parts, root, words, {"/var/lib/pgheadroom": state, "/etc/pgheadroom": etc}
    )
    assert spec["root"]["readonly"]
    process = run(command, log)
    try:
        eventually(
            lambda: get(f"http://{address}/readyz") is not None, f"ready: {log.read_text()}", 60
        )
        seen = Samples(get(f"http://{address}/metrics") or "")
        assert seen.up()
        main = (parts / "pid").read_text()
        lines = Path(f"/proc/{main}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert status["NSpid"].split()[-1] == "1"
        assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65532"}
        assert {int(status[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Inh", "Bnd")} == {0}
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0, log.read_text()
    assert "stopped" in log.read_text()
    assert any(state.iterdir())
    assert shutil.which("pgheadroom", path=str(root / "opt/pgheadroom/bin"))
