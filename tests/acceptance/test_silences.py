"""Silences on the installed command: a log-in, a restart, a server that nobody can reach."""

from __future__ import annotations

import base64
import errno
import json
import os
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
import yaml
from click.testing import CliRunner

from exporter.cli import main
from exporter.demo.postgres import free_port
from exporter.demo.watcher import child_environment
from tests.support.clock_shim import WallClock
from tests.support.disk_shim import StateDisk
from tests.support.receivers import SLACK_OK, Answer, HttpReceiver, eventually
from tests.support.watching import COMMAND, Watching, watching

USER, PASSWORD = "deploy", "correct horse"
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def web_config(folder: Path) -> Path:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    path = folder / "web.config.yml"
    path.write_text(yaml.safe_dump({"basic_auth_users": {USER: hashed}}))
    return path


def watch_of(folder: Path, slack: HttpReceiver, **changes) -> Watching:
    """A watch over one server at a port where nobody listens; it counts as gone after 5 s."""
    server = {"name": "db", "dsn": f"postgresql://127.0.0.1:{free_port()}/postgres"}
    told = {"name": "slack", "type": "slack", "webhook_url": f"{slack.url}/hook"}
    return watching(folder, [server], [told], failing_speed=3, **changes)


class Client:
    """Asks one pgheadroom, with or without a log-in."""

    def __init__(self, watch: Watching, password: str | None = PASSWORD) -> None:
        self.url = f"http://{watch.address}"
        self.password = password

    def ask(self, path: str, method: str = "GET", body: object = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data else {}
        if self.password is not None:
            login = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        request = urllib.request.Request(  # noqa: S310  our own address
            f"{self.url}{path}", data, headers, method=method
        )
        try:
            with DIRECT.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def command(self, *arguments: str) -> tuple[int, str]:
        """`pgheadroom silence`, as installed; its exit status, and what it printed."""
        known = {"PGHEADROOM_URL": self.url, "PGHEADROOM_USER": USER}
        done = subprocess.run(
            [str(COMMAND), "silence", *arguments],
            env=child_environment(os.environ)
            | known
            | {"PGHEADROOM_PASSWORD": self.password or "wrong"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr

    def muted(self) -> dict[str, str]:
        found = json.loads(self.ask("/api/v1/alerts")[1])["data"]["alerts"]
        return {a["labels"]["alertname"]: a.get("mutedBy", "") for a in found
                if a["state"] == "firing"}  # fmt: skip


@pytest.mark.parametrize("wrong", [-3600, 3600], ids=["behind", "ahead"])
def test_mutes_and_silences_follow_a_clock_that_was_wrong_at_the_start(tmp_path, wrong):
    clock, now = WallClock(tmp_path), datetime.now(UTC)
    begin, soon = now - timedelta(minutes=20), now + timedelta(minutes=20)
    times = {"times": [f"{begin:%H:%M}-{soon:%H:%M}"]}
    mute = {"name": "now", "matchers": ['server="db"'], "times": [times]}
    asked = {"matchers": ['server="x"'], "author": "ci", "comment": "c", "ends_at": f"{soon}"}
    web = {"config_file": str(web_config(tmp_path))}
    clock.step(wrong)
    with HttpReceiver(otherwise=SLACK_OK) as slack:
        watch = watch_of(tmp_path, slack, web=web, mutes=[mute], environ=clock.environ)
        with watch.running():
            clock.step(0)
            client = Client(watch)
            wanted = {"PostgresServerUnreachable": "mute now"}
            eventually(lambda: client.muted().items() >= wanted.items(), "muted", 40)
            status, text = client.ask("/api/v1/silences", "POST", asked)
            assert (status, json.loads(text)["data"]["state"]) == (201, "active")
            assert slack.requests == []
            clock.step(3600)
            (listed,) = json.loads(client.ask("/api/v1/silences")[1])["data"]["silences"]
            assert listed["state"] == "expired"


def test_a_silence_on_a_full_disk_holds_and_the_command_says_what_a_restart_would_forget(tmp_path):
    disk = StateDisk(tmp_path, tmp_path / "state")
    web = {"config_file": str(web_config(tmp_path))}
    with HttpReceiver(otherwise=SLACK_OK) as slack:
        watch = watch_of(tmp_path, slack, web=web, environ=disk.environ)
        with watch.running():
            client = Client(watch)
            disk.fail(errno.ENOSPC)
            status, said = client.command("add", "server=x", "-d", "1h", "-c", "move")
            made, warning = said.splitlines()
            assert status == 0
            assert warning.startswith("warning: a restart now would forget it")
            assert "pgheadroom_silences_active 1.0" in client.ask("/metrics")[1]
            assert watch.logged("kept in memory alone")
            disk.fail(0)
            eventually(lambda: bool(watch.logged("state is written again")), "written")
        with watch.running():
            assert client.command("expire", made) == (0, f"{made} expired\n")


def test_a_silence_keeps_quiet_over_a_restart_until_it_is_expired(tmp_path):
    with HttpReceiver(otherwise=SLACK_OK) as slack:
        watch = watch_of(tmp_path, slack, web={"config_file": str(web_config(tmp_path))})
        with watch.running():
            client = Client(watch)
            asked = {
                "matchers": ['server="db"'],
                "author": "ci",
                "comment": "move",
                "duration": "1h",
            }
            status, text = client.ask("/api/v1/silences", "POST", asked)
            assert status == 201, text
            silence = json.loads(text)["data"]["id"]
            wanted = {"PostgresServerUnreachable": f"silence {silence}"}
            eventually(lambda: client.muted().items() >= wanted.items(), "muted", 40)
            assert f"silence {silence}" in client.ask("/")[1]
            assert "pgheadroom_silences_active 1.0" in client.ask("/metrics")[1]
            status, listed = client.command("list")
            assert status == 0
            assert silence in listed
            assert 'server="db"' in listed
        assert slack.requests == []
        with watch.running():
            eventually(lambda: client.muted().items() >= wanted.items(), "muted again", 40)
            assert slack.requests == []
            assert client.command("expire", silence) == (0, f"{silence} expired\n")
            (told,) = slack.wait_for(1, 20)
            assert "db" in told.json["text"]
            assert client.command("list") == (0, "")
            expired = json.loads(client.command("list", "--expired", "--json")[1])
            assert [each["state"] for each in expired] == ["expired"]


def test_whoever_does_not_log_in_sees_and_changes_nothing(tmp_path):
    with HttpReceiver(otherwise=SLACK_OK) as slack:
        watch = watch_of(tmp_path, slack, web={"config_file": str(web_config(tmp_path))})
        with watch.running():
            for password in (None, "wrong"):
                client = Client(watch, password)
                for path in ("/", "/metrics", "/api/v1/alerts", "/api/v1/silences", "/nothing"):
                    assert client.ask(path)[0] == 401
                assert client.ask("/api/v1/silences", "POST", {})[0] == 401
                assert client.ask("/api/v1/silences/x", "DELETE")[0] == 401
                assert client.ask("/healthz")[0] == 200
            status, said = Client(watch, "wrong").command("add", "server=db", "-d1h", "-c", "x")
            assert (status, said) == (1, "pgheadroom: the log-in was refused; check --user and the password\n")  # fmt: skip  # noqa: E501
            assert len(watch.logged("log-in refused")) == 1
            assert PASSWORD not in watch.log
            status, said = Client(watch).command("add", "server=db", "-c", "x")
            assert status == 1
            assert "a silence must end" in said
            status, made = Client(watch).command(
                "add", "server=db", "alertname=~Postgres.*", "-d", "1h", "-c", "x"
            )
            assert status == 0
            assert len(made.strip()) == 8


@pytest.mark.parametrize(
    "data", [[], [{"id": "x", "matchers": [{}]}], {"silences": [{"id": 1}]}, None]
)
@pytest.mark.parametrize("words", [["list"], ["add", "server=db", "-d1h", "-c", "x", "-a", "me"]])
def test_what_is_no_pgheadroom_is_said_to_be_none(data, words):
    with HttpReceiver(otherwise=Answer(body=json.dumps({"data": data}))) as alertmanager:
        done = CliRunner().invoke(main, ["silence", *words, "--url", alertmanager.url])
    assert done.exit_code == 1
    assert done.output == f"pgheadroom: {alertmanager.url} answers, but not as pgheadroom does\n"


def test_a_user_without_a_name_is_asked_who_it_is(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    done = CliRunner().invoke(main, ["silence", "add", "server=db", "-d1h", "-c", "x"])
    assert done.exit_code == 2
    assert "say who you are: --author" in done.output


def test_without_a_log_in_silences_are_listed_and_never_changed(tmp_path):
    with HttpReceiver(otherwise=SLACK_OK) as slack:
        watch = watch_of(tmp_path, slack)
        with watch.running():
            client = Client(watch, None)
            assert json.loads(client.ask("/api/v1/silences")[1])["data"] == {"silences": []}
            for method, path in (("POST", ""), ("DELETE", "/x")):
                status, said = client.ask(f"/api/v1/silences{path}", method, {})
                assert status == 403
                assert "basic_auth_users" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("basic_auth_users: {ann: secret}", "not a bcrypt hash"),
        ("tls_server_config: {cert_file: nowhere.crt}", "key_file: missing"),
        ("rate_limit: 3", "unknown key"),
        ("", "not a mapping; begin with `basic_auth_users:` or `tls_server_config:`"),
    ],
)
def test_a_web_config_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, text, said):
    path = tmp_path / "web.config.yml"
    path.write_text(text)
    done = subprocess.run(
        [str(COMMAND), "run", "--web-config", str(path), "--listen", "127.0.0.1:0"],
        env=child_environment(os.environ) | {"DATABASE_URL": "postgresql://127.0.0.1:1/x"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
