"""`pgheadroom doctor`, installed, in front of real servers and poolers."""

import json
import os
import subprocess

import pytest
import yaml

from exporter.demo.watcher import child_environment
from tests.support.pgbouncer import leads_to
from tests.support.watching import COMMAND


def doctor(folder, *arguments, **document):
    """The finished command over a configuration file."""
    path = folder / "pgheadroom.yaml"
    path.write_text(yaml.safe_dump(document))
    return subprocess.run(
        [COMMAND, "doctor", "--config", path, *arguments],
        env=child_environment(os.environ), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def names(examined):
    return {each["name"] for each in examined["advice"]}


def test_a_server_and_its_pooler_as_json(tmp_path, postgres16, start_pgbouncer):
    settings = {"max_prepared_statements": 0, "server_idle_timeout": 0, "max_client_conn": 100}
    pooler = start_pgbouncer("trixie", {"app": leads_to(postgres16, pool_size=500)}, settings)
    done = doctor(
        tmp_path, "--json", "--instances", "400", "--pool-size", "5", "--hold-ms", "4",
        servers=[{"name": "prod", "dsn": postgres16.dsn()}],
        poolers=[{"name": "pgb", "server": "prod", "dsn": pooler.dsn(unix=True)}],
    )  # fmt: skip
    server, front = json.loads(done.stdout)
    assert (done.returncode, server["code"], front["code"]) == (2, 2, 1)
    assert names(server) == {
        "pools_oversubscribed", "no_reserved_connections", "no_idle_in_transaction_timeout",
        "too_many_clients",
    }  # fmt: skip
    assert names(front) == {"no_prepared_statements", "server_idle_timeout"}
    sizes = {each["name"]: each["value"] for each in server["figures"]}
    assert (sizes["connections"], sizes["default_pool_size"], sizes["throughput"]) == (
        2000, 97, 97 / 0.004,
    )  # fmt: skip


def test_a_sound_server_is_fine(tmp_path, start_postgres):
    server = start_postgres(16, reserved_connections=3, idle_in_transaction_session_timeout="1min")
    done = doctor(tmp_path, servers=[{"name": "prod", "dsn": server.dsn()}])
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "prod  ok")
    tight = doctor(
        tmp_path, "--instances", "90", "--pool-size", "1",
        servers=[{"name": "prod", "dsn": server.dsn()}],
    )  # fmt: skip
    assert tight.returncode == 1
    assert "[instances_tight]" in tight.stdout
    assert "⌊94 usable ÷ 90 instances⌋ − 1 = 0: none fits without a pooler" in tight.stdout


def test_what_cannot_be_seen_is_said_and_the_rest_goes_on(tmp_path, postgres16):
    postgres16.psql("create role nobody_special login")
    try:
        done = doctor(
            tmp_path,
            servers=[
                {"name": "gone", "dsn": "host=127.0.0.1 port=1 user=app"},
                {"name": "blind", "dsn": postgres16.dsn("nobody_special")},
            ],
        )
    finally:
        postgres16.psql("drop role nobody_special")
    assert "gone  NOT SEEN\n  app@127.0.0.1:1/postgres: " in done.stdout
    assert "blind  CRITICAL" in done.stdout
    assert 'GRANT pg_read_all_stats TO "nobody_special"' in done.stdout
    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instances", "5"], "belong together"),
        (["--instances", "0", "--pool-size", "5"], "--instances"),
        (["--hold-ms", "0"], "--hold-ms"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, arguments, said):
    done = doctor(tmp_path, *arguments, servers=[{"name": "a", "dsn": "host=127.0.0.1"}])
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
