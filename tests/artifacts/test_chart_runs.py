"""What the chart makes, run: the configuration by pgheadroom, the rules by Prometheus."""

import contextlib
import os
import re
import signal
import subprocess

import pytest
import yaml

from exporter.demo.watcher import child_environment, free_address
from exporter.reload import read_config
from tests.support.charts import (
    CHART,
    CI_VALUES,
    configuration,
    container,
    of_kind,
    one,
    pod_specs,
    render,
)
from tests.support.peers import debian_program, get
from tests.support.postgres import watchers
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import COMMAND, POLLING, Samples, prepare

WEB = "basic_auth_users: {}\n"


class Node:
    """The pod's files below a folder, swapped as a kubelet does it."""

    def __init__(self, folder):
        self.folder = folder
        self.etc, self.state = folder / "etc" / "pgheadroom", folder / "state"
        self._turn = 0

    def local(self, text):
        """`text` with the places of a pod as those of this folder."""
        return text.replace("/etc/pgheadroom", str(self.etc)).replace(
            "/var/lib/pgheadroom", str(self.state)
        )

    def mount(self, place, files):
        """Put `files` where a pod has `place`: behind a link that is exchanged at once."""
        self._turn += 1
        folder = self.etc / place
        data = folder / f"..{self._turn}"
        data.mkdir(parents=True)
        for name, text in files.items():
            (data / name).write_text(self.local(text))
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
        (folder / "..new").symlink_to(data.name)
        (folder / "..new").replace(folder / "..data")

    def configure(self, objects):
        """Mount the ConfigMap."""
        (data,) = [
            m["data"] for m in of_kind(objects, "ConfigMap") if "pgheadroom.yaml" in m["data"]
        ]
        self.mount("config", data)
        return self.etc / "config" / "pgheadroom.yaml"


def secret(key):
    """Something that may stand in a key of that name."""
    if key == "web.yml":
        return WEB
    return "https://example.com/hook\n" if "url" in key else "s3cr3t\n"


OWN = [path for path in CI_VALUES if not path.name.startswith("existing-config")]


@pytest.mark.parametrize("values", OWN, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_pgheadroom_takes_the_configuration(values, tmp_path):
    node = Node(tmp_path)
    objects = render("3", values)
    text = yaml.safe_dump(configuration(objects))
    for name, key in set(re.findall(r"/etc/pgheadroom/secrets/([^/\s']+)/([^/\s']+)", text)):
        node.mount(f"secrets/{name}", {key: secret(key)} | held(node, name))
    config = read_config(node.configure(objects), {})
    names = [server["name"] for server in configuration(objects)["servers"]]
    assert [server.name for server in config.servers] == names
    mounted = {m["mountPath"] for m in container(objects)["volumeMounts"]}
    used = set(re.findall(r"/etc/pgheadroom/secrets/[^/\s']+", text))
    assert used <= mounted


def held(node, name):
    """The files of a Secret that is mounted already."""
    folder = node.etc / "secrets" / name / "..data"
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else {}


@pytest.mark.parametrize("feature", ["prometheus-rule", "minimal"])
def test_prometheus_takes_the_rules(feature, tmp_path):
    values = {"prometheusRule": {"enabled": True}}
    objects = render("4", CHART / "ci" / f"{feature}-values.yaml", values)
    groups = one(objects, "PrometheusRule")["spec"]["groups"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run(
        [debian_program("promtool"), "check", "rules", tmp_path / "rules.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {sum(len(group['rules']) for group in groups)} rules found" in done.stdout


@contextlib.contextmanager
def running(node, objects, log):
    """The container's command."""
    words = [node.local(word) for word in container(objects)["args"]]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(COMMAND), *words], stdout=output, stderr=output, env=child_environment(os.environ)
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_the_pod_watches_pages_and_takes_up_changes(tmp_path, start_postgres):
    server = prepare(start_postgres(16, max_connections=20))
    node, address, log = Node(tmp_path), free_address(), tmp_path / "log"
    slack = {"name": "chat", "type": "slack", "existingSecret": {"name": "slack"}}
    watched = {
        "name": "prod",
        "host": "127.0.0.1",
        "port": server.port,
        "sslmode": "disable",
        "existingSecret": {"name": "prod-db"},
        "probe": {"enabled": False},
    }

    def made(**thresholds):
        config = {"polling": POLLING, "thresholds": thresholds, "log": {"format": "text"}}
        values = {"servers": [watched], "receivers": [slack], "config": config}
        return render("4", values | {"extraArgs": ["--listen", address]})

    def threshold(name):
        found = Samples(get(f"http://{address}/metrics") or "")
        return found.all("pgheadroom_threshold", server="prod", threshold=name)

    objects = made(connections_critical=0.9)
    with HttpReceiver() as old, HttpReceiver() as new:
        node.configure(objects)
        node.mount("secrets/prod-db", {"password": "s3cr3t"})
        node.mount("secrets/slack", {"webhook-url": f"{old.url}/old"})
        with running(node, objects, log) as process:
            (test,) = pod_specs(of_kind(objects, "Pod"))[0]["containers"]
            asked = [word.replace("pg-pgheadroom:9970", address) for word in test["args"]]
            done = subprocess.run(
                [str(COMMAND), *asked], capture_output=True, text=True, check=False
            )
            assert done.stdout == "every server is seen\n", done.stderr + log.read_text()
            session = watchers(server)
            assert threshold("connections_critical") == [0.9]

            node.mount("secrets/slack", {"webhook-url": f"{new.url}/new"})
            node.configure(made(connections_critical=0.01))
            (told,) = new.wait_for(1)[:1]
            assert told.path == "/new"
            assert "prod" in told.body.decode()
            eventually(lambda: threshold("connections_critical") == [0.01], log.read_text())
            assert process.poll() is None
            assert watchers(server) == session, "the session was given up"
            assert old.requests == []
        assert process.returncode == 0
    assert (node.state / "state").is_dir()
    assert "s3cr3t" not in log.read_text()
