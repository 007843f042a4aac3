"""The installed command, as a person or a supervisor runs it: what it says, and its exit status."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from exporter.demo.receiver import Receiver
from exporter.demo.watcher import child_environment, free_address
from exporter.rules.load import shipped_rule_texts
from exporter.sources.grants import grants_sql
from tests.support.pages import ROOT
from tests.support.postgres import sessions, watchers
from tests.support.receivers import eventually
from tests.support.watching import COMMAND, prepare, watched

SECRET = "s3cr3t-0123456789"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
#: DESIGN promises 2 s; a machine that runs other tests beside this one gets some more.
STOP_SECONDS = 5.0
COMMANDS = ("", "run", "check", "config", "config check", "config schema", "grants", "notify",
            "notify test", "demo", "doctor")  # fmt: skip


def environment(**own):
    return child_environment(os.environ) | own


def run(*arguments, folder=None, command=(COMMAND,), **own):
    """The finished command; its texts never hold the secret."""
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment(**own),
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@contextmanager
def running(folder, *arguments, prefix=(), **own):
    """`pgheadroom run`, and the address that it answers at."""
    listen = free_address()
    log = folder / "log"
    places = ["--listen", listen, "--state-dir", folder / "state"]
    command = [*prefix, COMMAND, "run", *places, *arguments]
    with log.open("w") as out:
        process = subprocess.Popen(command, stderr=out, cwd=folder, env=environment(**own))
    try:
        eventually(lambda: get(listen, "/readyz") == "ready\n", "ready", 20)
        yield process, listen
    finally:
        process.kill()
        process.wait()
        assert SECRET not in log.read_text()


def get(listen, path):
    try:
        with DIRECT.open(f"http://{listen}{path}", timeout=5) as answer:
            return answer.read().decode()
    except (OSError, http.client.HTTPException):
        return ""


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_SECONDS) == 0


def file(folder, **document):
    path = folder / "pgheadroom.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


NOBODY = {"name": "db", "dsn": f"postgresql://app:{SECRET}@127.0.0.1:1/postgres"}


def test_the_wheel_is_complete(installed, tmp_path):
    """Elsewhere than in the checkout, with the rules that are in the wheel."""
    done = run("--version", command=installed, folder=tmp_path)
    assert done.stdout.startswith("pgheadroom, version 0.")
    path = file(
        tmp_path, servers=[NOBODY], rules={"overrides": {"PostgresConnectionLeak": {"for": "1m"}}}
    )
    assert run("config", "check", "--config", path, command=installed).returncode == 0
    names = {each.name for each in tmp_path.parent.glob("installed*/venv/**/shipped/*.rules.yaml")}
    assert names == set(shipped_rule_texts())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {' '.join(['pgheadroom', *command.split()])} ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["watch"], "No such command"),
        (["run", "--lisen", "x"], "--listen"),
        (["run", "--listen", "nowhere"], "write HOST:PORT"),
        (["check", "--config", "/nowhere.yaml"], "/nowhere.yaml: 1 problem\n  cannot read"),
        (["run"], "DATABASE_URL: not set"),
        (["check"], "DATABASE_URL: not set"),
        (["notify", "test"], "DATABASE_URL: not set"),
        (["grants", "--role", ""], "--role: a role's name"),
    ],
)
def test_what_cannot_be_meant_is_said(tmp_path, arguments, said):
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_config_check_lists_every_problem_and_starts_nothing(tmp_path):
    path = file(
        tmp_path,
        servers=[NOBODY | {"intervall": 2}, {"name": "db", "dsn": f"host=x sslmod={SECRET}"}],
        receivers=[{"name": "pager", "type": "pagerduty", "routing_key_file": "nowhere"}],
        polling={"interval": "soon"},
        state_dir=str(tmp_path / "state"),
    )
    for command in ("config check", "run", "check", "notify test"):
        done = run(*command.split(), "--config", path)
        assert (done.returncode, done.stdout) == (2, "")
        head, *problems = done.stderr.splitlines()
        assert head == f"pgheadroom: {path}: {len(problems)} problems"
        places = {problem.strip().split(": ")[0] for problem in problems}
        assert places == {
            "servers[0].intervall", "servers[1].name", "servers[1].dsn",
            "receivers[0].routing_key_file", "polling.interval",
        }  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["pgheadroom.yaml"]


def test_config_check_of_a_good_file_says_who_is_told(tmp_path):
    path = file(tmp_path, servers=[NOBODY])
    done = run("config", "check", PGHEADROOM_CONFIG=str(path))
    assert done.stdout == f"{path}: fine. Servers: db. Receivers: none: nobody will be told.\n"
    assert done.returncode == 0


def test_config_schema_is_a_schema():
    schema = json.loads(run("config", "schema").stdout)
    assert schema["required"] == ["servers"]
    assert schema["additionalProperties"] is False
    assert {"Server", "SlackReceiver", "PagerDutyReceiver"} <= schema["$defs"].keys()


def test_grants_prints_sql_for_any_role():
    assert run("grants").stdout == grants_sql()
    assert 'CREATE ROLE "it""s" LOGIN' in run("grants", "--role", 'it"s').stdout


def test_check_of_a_healthy_server(postgres):
    done = run("check", DATABASE_URL=postgres.dsn())
    assert done.returncode == 0, done.stdout
    head, arithmetic, probe, *_ = done.stdout.splitlines()
    assert head == f"127.0.0.1:{postgres.port}  ok"
    assert arithmetic.strip().endswith("of 97 usable slots, 1 %; max 100, 3 reserved")
    assert probe.strip().startswith("a new client connects in ")
    (seen,) = json.loads(run("check", "--json", DATABASE_URL=postgres.dsn()).stdout)
    assert (seen["server"], seen["code"], seen["findings"]) == (f"127.0.0.1:{postgres.port}", 0, [])
    assert seen["situation"]["usable"] == 97


@pytest.mark.parametrize("major", [16, 18])
def test_check_of_a_server_that_fills_up(start_postgres, tmp_path, major):
    server = prepare(start_postgres(major, max_connections=20))
    path = file(tmp_path, servers=[watched(server), NOBODY | {"name": "gone"}])
    with sessions(server, 12, user="app", application_name="checkout"):
        done = run("check", "--config", path)
        assert done.returncode == 3, "an unknown one comes before a warning"
        assert "db  WARNING\n  13 of 17 usable slots, 76 %" in done.stdout
        assert "gone  NOT SEEN" in done.stdout
    with sessions(server, 15, user="app", application_name="checkout"):
        done = run("check", "--config", path)
        assert done.returncode == 2
        assert "db  CRITICAL\n  16 of 17 usable slots, 94 %" in done.stdout
        assert "[PostgresConnectionsCritical]" in done.stdout
        assert "   15  checkout (app on postgres)" in done.stdout
        db, gone = json.loads(run("check", "--json", "--config", path).stdout)
        assert (db["code"], gone["code"]) == (2, 3)
        assert db["situation"]["holders"][0]["used"] == 15


def test_check_says_whose_many_names_hold_the_slots(postgres):
    with ExitStack() as held:
        for number in range(6):
            held.enter_context(sessions(postgres, 1, application_name=f"fn-{number}"))
        done = run("check", DATABASE_URL=postgres.dsn())
    # pgheadroom's own session is one of the role here, and so is the probe's until it has gone.
    assert re.search(
        r"^  postgres on postgres holds ([78]) under \1 names$", done.stdout, re.MULTILINE
    )


def test_what_a_name_says_to_a_terminal_is_shown_and_not_done(postgres16):
    name = "evil\x1b[31mred\x1b]0;title\x07\nsecond"
    postgres16.psql(f'create role "{name}" login')
    try:
        with sessions(postgres16, 3, user=name, application_name="x"):
            said = run("check", DATABASE_URL=postgres16.dsn()).stdout
    finally:
        postgres16.psql(f'drop role "{name}"')
    assert r"    3  x (evil\x1b[31mred\x1b]0;title\x07\nsecond on postgres)" in said
    assert all(line.isprintable() for line in said.splitlines())


def test_check_without_the_privilege_names_the_grant(start_postgres):
    server = start_postgres(18)
    server.psql("create role plain login")
    done = run("check", DATABASE_URL=server.dsn(user="plain"))
    assert done.returncode == 3
    assert "GRANT pg_read_all_stats TO" in done.stdout
    assert "usable slots" not in done.stdout


def test_check_where_nobody_listens():
    done = run("check", DATABASE_URL=NOBODY["dsn"])
    assert done.returncode == 3
    assert "Connection refused" in done.stdout


def test_notify_test_tells_each_receiver():
    with Receiver() as receiver:
        own = {
            "DATABASE_URL": NOBODY["dsn"],
            "SLACK_WEBHOOK_URL": receiver.slack_url,
            "PAGERDUTY_ROUTING_KEY": SECRET,
            "PAGERDUTY_URL": receiver.pagerduty_url,
        }
        done = run("notify", "test", **own)
        assert (done.returncode, done.stdout) == (0, "pagerduty: delivered\nslack: delivered\n")
        assert {each.receiver for each in receiver.messages} == {"slack", "pagerduty"}
        assert not receiver.pages, "a test wakes nobody"
        assert all("TEST" in each.text for each in receiver.messages if each.text != "resolve")
        done = run("notify", "test", "--receiver", "slack", **own)
        assert (done.returncode, done.stdout) == (0, "slack: delivered\n")
        done = run("notify", "test", "--receiver", "teams", **own)
        assert (done.returncode, done.stdout) == (2, "")
        assert "there are: pagerduty, slack" in done.stderr


def test_notify_test_of_a_wrong_address_fails_and_does_not_repeat_it():
    with Receiver() as receiver:
        own = {
            "DATABASE_URL": NOBODY["dsn"],
            "SLACK_WEBHOOK_URL": f"{receiver.url}/services/{SECRET}",
            "PAGERDUTY_ROUTING_KEY": SECRET,
            "PAGERDUTY_URL": f"http://{free_address()}/{SECRET}",
        }
        done = run("notify", "test", **own)
    assert done.returncode == 1
    pagerduty, slack = done.stdout.splitlines()
    assert pagerduty.startswith("pagerduty: failed: cannot connect")
    assert slack.startswith("slack: failed: Slack answered 404")


def test_run_with_an_address_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("run", "--listen", listen, folder=tmp_path, DATABASE_URL=NOBODY["dsn"])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on {listen}: Address already in use" in line
    assert "--listen" in line


def test_run_with_a_state_dir_in_use(tmp_path):
    with running(tmp_path, DATABASE_URL=NOBODY["dsn"]) as (process, _):
        state = tmp_path / "state"
        arguments = ("run", "--listen", free_address(), "--state-dir", state)
        done = run(*arguments, folder=tmp_path, DATABASE_URL=NOBODY["dsn"])
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"{state} is in use by another pgheadroom (pid {process.pid})" in line


def test_run_with_a_secret_that_cannot_be_read(tmp_path):
    """A directory: root can read any file."""
    path = file(tmp_path, servers=[NOBODY | {"password_file": "."}])
    done = run("run", "--config", path)
    assert done.returncode == 2
    assert "servers[0].password_file: cannot read" in done.stderr
    assert not (tmp_path / "pgheadroom-state").exists()


def test_run_serves_only_what_is_documented_and_stops_at_once(tmp_path, postgres16):
    """With nothing but DATABASE_URL."""
    with running(tmp_path, DATABASE_URL=postgres16.dsn()) as (process, listen):
        up = f'pgheadroom_up{{server="127.0.0.1:{postgres16.port}"}} 1'
        eventually(lambda: up in get(listen, "/metrics"), "up")
        assert get(listen, "/healthz") == "ok\n"
        assert "nobody will be told" in get(listen, "/")
        page = (ROOT / "docs" / "metrics.md").read_text()
        families = list(text_string_to_metric_families(get(listen, "/metrics")))
        own = [each for each in families if each.name.startswith("pgheadroom_")]
        assert len(own) > 20
        for family in own:
            suffix = "_total" if family.type == "counter" else ""
            assert f"| `{family.name}{suffix}` | {family.type} |" in page
        assert watchers(postgres16)
        stop(process)
        eventually(lambda: not watchers(postgres16), "the session is closed")


def test_run_stops_without_a_standard_output(tmp_path):
    """As a supervisor may start it."""
    closed = ("sh", "-c", 'exec "$@" >&-', "sh")
    with running(tmp_path, prefix=closed, DATABASE_URL=NOBODY["dsn"]) as (process, _):
        stop(process)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("arguments", [["--help"], ["config", "schema"], ["grants"]])
def test_a_full_disk_under_the_output_is_said(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *arguments], env=environment(), stdout=full, stderr=subprocess.PIPE,
            text=True, check=False, timeout=30,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "pgheadroom: the output cannot be written: No space left on device\n"


def test_run_stops_while_nobody_answers(tmp_path):
    """A server's login and a heartbeat are under way, and nothing that is waited for ends."""
    silent, deaf = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    with silent, deaf:
        dsn = f"postgresql://app:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/postgres"
        config = file(
            tmp_path,
            servers=[{"name": "db", "dsn": dsn}],
            heartbeat={"url": f"http://127.0.0.1:{deaf.getsockname()[1]}/", "timeout": 60},
        )
        with running_at_once(tmp_path, "--config", config) as process:
            login, _ = silent.accept()
            beat, _ = deaf.accept()
            with login, beat:
                stop(process)
    log = (tmp_path / "log").read_text()
    assert " INFO stopped " in log
    assert "Traceback" not in log


def test_a_start_that_is_asked_for_a_reload_goes_on(tmp_path):
    with running_at_once(tmp_path, DATABASE_URL=NOBODY["dsn"]) as process:
        eventually(lambda: ignores(process, signal.SIGHUP), "SIGHUP is ignored")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: " INFO started " in (tmp_path / "log").read_text(), "started", 20)
        stop(process)


def ignores(process, number):
    """https://man7.org/linux/man-pages/man5/proc_pid_status.5.html, SigIgn."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (mask,) = re.findall(r"^SigIgn:\s*(\w+)", status, re.MULTILINE)
    return bool(int(mask, 16) & 1 << number - 1)


@contextmanager
def running_at_once(folder, *arguments, **own):
    """`pgheadroom run`, whether or not it has polled yet."""
    listen = ("--listen", free_address())
    command = [COMMAND, "run", *listen, "--state-dir", folder / "state", *arguments]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment(**own), stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
