"""The process as a whole, on a state directory that an earlier one left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from exporter.alerting.alerter import Alerter, Book
from exporter.alerting.message import Sender
from exporter.alerting.routing import Routing
from exporter.app import App
from exporter.demo.receiver import Receiver
from exporter.notify.store import StateStore
from exporter.reload import read_config
from exporter.rules.model import Element, Result, Rule
from tests.support.launch_day import eventually
from tests.support.states import group, state

RULE = Rule(
    "PostgresConnectionsCritical",
    "g",
    "x",
    labels={"severity": "critical", "family": "connections"},
)


def config_in(folder, receiver):
    path = folder / "pgheadroom.yaml"
    path.write_text(
        "install_id: test\n"
        "listen: 127.0.0.1:0\n"
        f"state_dir: {folder}/state\n"
        "servers: [{name: here, dsn: 'postgresql://127.0.0.1:1/postgres'}]\n"
        "receivers:\n"
        f"  - {{name: slack, type: slack, webhook_url: '{receiver.slack_url}'}}\n"
        f"  - {{name: pd, type: pagerduty, routing_key: k, url: '{receiver.pagerduty_url}'}}\n"
    )
    return read_config(path, {})


def open_incident(config, server):
    """What an earlier process knew: an incident of `server` that everyone has been told of."""
    alerter = Alerter(Routing(config.effective_routes), Sender("test"))
    results = [Result(RULE, (Element({"server": server}, 1.0),))]
    seen = state(group(97), server=server)
    return alerter.decide(Book(), results, seen, None, time.time(), observed=True).book


async def run_until(config, look, what):
    app = App(config)
    running = asyncio.create_task(app.run())
    try:
        await eventually(look, 10, what)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 5)


def test_incidents_of_servers_that_are_no_longer_watched_are_resolved_once(tmp_path):
    with Receiver() as receiver:
        config = config_in(tmp_path, receiver)
        store = StateStore(config.state_dir)
        book = open_incident(config, "gone")
        states = {f"{part}/gone": text for part, text in book.to_json().items()}
        assert store.commit(states, ()).on_disk
        store.close()
        asyncio.run(run_until(config, lambda: len(receiver.messages) >= 2, "both resolves"))
        asyncio.run(run_until(config, lambda: True, "nothing"))
        actions = [each.payload.get("event_action") for each in receiver.messages]
        assert sorted(actions, key=str) == [None, "resolve"]
        assert any("RESOLVED gone" in each.headline for each in receiver.messages)


def test_incidents_of_poolers_that_are_no_longer_watched_are_resolved_too(tmp_path):
    with Receiver() as receiver:
        config = config_in(tmp_path, receiver)
        store = StateStore(config.state_dir)
        book = open_incident(config, "here")
        states = {f"{p}/pooler pgb-1": text for p, text in book.to_json().items()}
        assert store.commit(states, ()).on_disk
        store.close()
        asyncio.run(run_until(config, lambda: len(receiver.messages) >= 2, "both resolves"))
        store = StateStore(config.state_dir)
        assert store.load("incidents/pooler pgb-1") is None
        store.close()


def test_an_open_incident_survives_a_restart_on_a_server_that_cannot_be_seen(tmp_path):
    with Receiver() as receiver:
        config = config_in(tmp_path, receiver)
        store = StateStore(config.state_dir)
        states = {f"{p}/here": text for p, text in open_incident(config, "here").to_json().items()}
        assert store.commit(states, ()).on_disk
        store.close()
        asyncio.run(run_until(config, lambda: True, "nothing"))
        store = StateStore(config.state_dir)
        kept = store.load("incidents/here")
        store.close()
        assert kept is not None
        assert '"family":"connections"' in kept
        assert receiver.messages == ()
