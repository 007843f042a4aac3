"""The installed command with an Alertmanager, a webhook and a heartbeat, from its YAML alone."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any

import pytest

from tests.support.peers import alertmanager
from tests.support.postgres import sessions
from tests.support.receivers import Answer, HttpReceiver, eventually
from tests.support.watching import COMMAND, prepare, watched, watching

USABLE = 17
TOKEN = "a-token-of-ours"


@pytest.fixture
def parts(tmp_path, start_postgres):
    """(server, watch, Alertmanager, whom it tells, the webhook, the heartbeat's listener)."""
    server = prepare(start_postgres(18, max_connections=20))
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with contextlib.ExitStack() as stack:
        told, hook, beat = (stack.enter_context(HttpReceiver()) for _ in range(3))
        manager = stack.enter_context(alertmanager(tmp_path / "am", told.url))
        receivers: list[dict[str, Any]] = [
            {"name": "am", "type": "alertmanager", "urls": [manager.url], "resend": "1s"},
            {"name": "hook", "type": "webhook", "url": hook.url, "bearer_token_file": str(token)},
        ]
        watch = watching(
            tmp_path,
            [watched(server, labels={"env": "prod"})],
            receivers,
            thresholds={"connections_warning": None, "connections_critical": None},
            heartbeat={"url": f"{beat.url}/secret-path", "interval": "200ms"},
        )
        yield server, watch, manager, told, hook, beat


def test_an_incident_stands_and_ends_at_each_and_the_heart_beats(parts):
    server, watch, manager, told, hook, beat = parts
    with watch.running():
        beat.wait_for(3)
        assert watch.scrape().one("pgheadroom_heartbeat_success") == 1
        with sessions(server, USABLE - 1, user="app"):
            (firing,) = told.wait_for(1)
            (posted,) = hook.wait_for(1)
            (alert,) = manager.alerts()
        told.wait_for(2)
        hook.wait_for(2)
        beat.otherwise = Answer(500)
        watch.wait_for("no heartbeat", lambda s: s.one("pgheadroom_heartbeat_success") == 0)
        assert watch.logged("no heartbeat error=the address answered 500")
    assert firing.json["status"] == "firing"
    assert told.requests[1].json["status"] == "resolved"
    labels = {"server": "db", "family": "connections", "severity": "critical", "env": "prod"}
    assert alert["labels"] == labels | {"alertname": "PgheadroomConnections"}
    assert posted.headers["Authorization"] == f"Bearer {TOKEN}"
    assert posted.json["commonLabels"]["alertname"] == "PostgresConnectionsExhausted"
    assert [request.json["status"] for request in hook.requests] == ["firing", "resolved"]
    assert "secret-path" not in watch.log
    assert TOKEN not in watch.log


def test_notify_test_tries_each_and_leaves_nothing_open(parts):
    _, watch, manager, _, hook, _ = parts
    done = subprocess.run(
        [COMMAND, "notify", "test", "--config", watch.file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "am: delivered\nhook: delivered\n"), done.stderr
    eventually(lambda: manager.alerts() == [], "the test alert has ended")
    assert [request.json["status"] for request in hook.requests] == ["firing", "resolved"]
