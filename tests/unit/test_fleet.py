"""Who is watched, as the configuration says, and what the process needs for it."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys

import pytest

from exporter.alerting.board import Board
from exporter.app import Keeper
from exporter.fleet import Fleet
from exporter.notify.dispatcher import Dispatcher
from exporter.notify.outbox import Outbox
from exporter.notify.store import StateStore
from exporter.poll import Desk
from exporter.reload import read_config
from exporter.rules.evaluate import RuleSet
from exporter.schedule import Schedule

FAR = "postgresql://app:hunter2@db.example.com/shop?sslmode="
DOORS = "postgresql://app:hunter2@doors.example.com/pgbouncer?sslmode="


@pytest.fixture
def follow(tmp_path):
    """Has one fleet follow each of the given texts, and gives it."""

    def followed(*texts):
        path = tmp_path / "config.yaml"
        with contextlib.closing(StateStore(tmp_path / "state")) as store:
            journal = Keeper(Outbox(store, Dispatcher([], store)), lambda: 1000.0)
            fleet = Fleet(Desk(RuleSet(()), Board(), journal, lambda: 1000.0), Schedule())
            for text in texts:
                path.write_text(text)
                asyncio.run(fleet.follow(read_config(path, {})))
            return fleet

    return followed


def configuration(server_mode, pooler_mode):
    return f"""
servers: [{{name: shop, dsn: '{FAR}{server_mode}'}}]
poolers: [{{name: doors, server: shop, dsn: '{DOORS}{pooler_mode}'}}]
"""


def weak(caplog):
    """Who was warned about, and in which words."""
    records = [vars(record) for record in caplog.records if record.message == "weak TLS"]
    return [(each.get("server"), each.get("pooler"), each["detail"]) for each in records]


def test_weak_tls_is_told_of_servers_and_poolers_and_again_only_for_another_login(follow, caplog):
    fleet = follow(configuration("require", "prefer"), configuration("require", "prefer"))
    assert fleet.names == ("shop", "pooler doors")
    (server, pooler) = weak(caplog)
    assert (server[:2], pooler[:2]) == (("shop", None), (None, "doors"))
    assert "sslmode=require" in server[2]
    assert "sslmode=prefer" in pooler[2]
    assert "hunter2" not in caplog.text
    caplog.clear()
    follow(configuration("verify-full", "verify-full"), configuration("require", "verify-full"))
    assert [each[:2] for each in weak(caplog)] == [("shop", None)]


def test_open_files_are_allowed_as_far_as_the_system_lets_us():
    soft, hard = 100, 600
    code = f"""
import logging, resource
from exporter.fleet.files import allow_files
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
for endpoints in (10, 1000):
    allow_files(endpoints)
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["340", "600"]
    assert done.stderr == "too few open files are allowed; raise LimitNOFILE\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != hard
