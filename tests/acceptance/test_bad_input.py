"""What cannot be watched is said once, with where it was looked for and what to do about it."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest

from tests.support.postgres import eventually as eventually_true
from tests.support.watching import COMMAND, prepare, watched, watching

SECRET = "hunter2-secret"


@pytest.fixture
def nobody():
    """A port of loopback that is bound, and where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_every_failure_names_the_server_the_address_and_what_to_do(
    tmp_path, start_postgres, nobody
):
    server = start_postgres(16, max_connections=20)
    server.psql("create role pgheadroom login")
    alive = f"pgheadroom@127.0.0.1:{server.port}/postgres"
    secret = f"postgresql://pgheadroom:{SECRET}@"
    servers = [
        watched(server, "blind"),
        watched(server, "nobody", dsn=f"{secret}{nobody}/shop"),
        watched(server, "elsewhere", dsn=f"{secret}127.0.0.1:{server.port}/missing"),
    ]
    expected = {
        "blind": ("unprivileged", alive, "GRANT pg_read_all_stats"),
        "nobody": ("network", f"pgheadroom@{nobody}/shop", "check the host and port"),
        "elsewhere": ("error", alive.replace("/postgres", "/missing"), "name a database"),
    }
    watch = watching(tmp_path, servers)
    with watch.running():
        seen = watch.wait_for(
            "some failures", lambda s: all(sum(s.failures(name).values()) > 5 for name in expected)
        )
        page = watch.page
        lines = watch.logged("poll failed")
    command = [str(COMMAND), "check", "--config", str(watch.file)]
    table = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False).stdout
    checked = {each["server"]: each for each in json.loads(found)}
    for name, (reason, tried, to_do) in expected.items():
        (line,) = (line for line in lines if f"server={name} " in line)
        assert f"reason={reason} tried={tried} " in line
        assert set(seen.failures(name)) == {reason}
        assert checked[name]["tried"] == tried
        for text in (line, page, table):
            assert tried in text
            assert to_do in text
    for text in (watch.log, page, table, found):
        assert SECRET not in text


def test_a_server_that_cannot_be_watched_takes_nothing_from_the_others(
    tmp_path, start_postgres, nobody
):
    server = prepare(start_postgres(16, max_connections=20))
    bad = watched(server, "bad", dsn=f"postgresql://u@{nobody}/x", probe={"enabled": True})
    watch = watching(tmp_path, [bad, watched(server, "good")])
    with watch.running():
        watch.wait_for("seen", lambda s: s.up("good"))
        assert all(s.up("good") and not s.up("bad") for s in watch.observe(1.0))
        assert eventually_true(lambda: watch.logged("connect probe changed"))
