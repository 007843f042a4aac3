"""SIGHUP and changed files, on the installed command over a real server."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import yaml

from tests.support.postgres import sessions, watchers
from tests.support.receivers import PAGERDUTY_OK, Answer, HttpReceiver, eventually
from tests.support.watching import events, pagerduty, prepare, watched, watching

#: Of 17 usable slots: with ours more than LOW, and less than what alerts by default.
CLIENTS = 7
LOW = {"connections_critical": 0.4, "connections_warning": None}
NONE = {"connections_critical": None, "connections_warning": None}
CRITICAL = "PostgresConnectionsCritical"


def up(seen, *servers):
    """Whether all of them are seen; a server has no series before its first poll."""
    return all(seen.all("pgheadroom_up", server=name) == [1] for name in servers)


@pytest.fixture
def server(start_postgres):
    return prepare(start_postgres(16, max_connections=20))


def test_a_reload_keeps_sessions_and_incidents_and_changes_the_rest(tmp_path, server):
    moved = watched(server, "moved", thresholds=NONE)
    servers = [
        watched(server, "stays", thresholds=LOW),
        watched(server, "stricter", thresholds=NONE),
        watched(server, "goes", thresholds=LOW),
        moved,
    ]
    with HttpReceiver() as receiver, sessions(server, CLIENTS, user="app"):
        watch = watching(tmp_path, servers, [pagerduty(receiver)])
        with watch.running():
            receiver.wait_for(2)
            before = watchers(server)
            servers[1]["thresholds"] = LOW
            servers[2] = watched(server, "comes", thresholds=NONE)
            servers[3] = moved | {"dsn": server.dsn(user="pgheadroom", keepalives=1)}
            watch.reload(servers=servers)
            seen = watch.wait_for("a new server", lambda s: up(s, "comes", "moved"))
            assert not seen.all("pgheadroom_up", server="goes")
            assert seen.firing(CRITICAL, "stays")
            assert seen.firing(CRITICAL, "stricter")
            receiver.wait_for(4)
            assert [e.action for e in events(receiver, "goes")] == ["trigger", "resolve"]
            assert [e.action for e in events(receiver, "stricter")] == ["trigger"]
            assert [e.action for e in events(receiver, "stays")] == ["trigger"]
            eventually(lambda: len(watchers(server)) == 4, "a session for each server")
            # Those of the two that stayed, not of the one that went and the one that moved.
            assert len({*before} & {*watchers(server)}) == 2
        assert "configuration reloaded added=comes removed=goes" in watch.log
        # Nothing of what a session that is closed would say; a busy machine makes polls late.
        assert not [line for line in watch.logged("poll failed") if "reason=late" not in line]


def test_a_bad_file_is_refused_with_every_problem_and_the_mended_one_is_taken_up(tmp_path, server):
    watch = watching(tmp_path, [watched(server)])
    successful = "pgheadroom_config_last_reload_successful"
    at = "pgheadroom_config_last_reload_success_timestamp_seconds"
    with watch.running():
        started = watch.wait_for("seen", lambda s: s.up() and s.one(successful) == 1)
        broken = [
            watched(server) | {"dsn": "db.example.com"},
            {"name": "x", "dsn": "host=h", "y": 1},
        ]
        good = watch.document["servers"]
        watch.write(servers=broken)
        watch.hang_up()
        refused = watch.wait_for("refused", lambda s: s.one(successful) == 0)
        assert refused.one(at) == started.one(at)
        (line,) = watch.logged("configuration refused")
        for problem in ("servers[0].dsn: the DSN is neither", "servers[1].y: unknown key"):
            assert problem in line
        assert all(s.up() for s in watch.observe(0.5))
        # What is mended needs no signal; what is bound at the start needs more than that.
        watch.write(servers=[*good, watched(server, "more")], install_id="other")
        seen = watch.wait_for("taken up", lambda s: s.one(successful) == 1 and up(s, "more"), 15)
        assert seen.one(at) > started.one(at)
        assert len(watch.logged("configuration refused")) == 1
        assert "changed keys wait for a restart keys=install_id" in watch.log


def test_receivers_routes_and_rules_take_effect(tmp_path, server):
    with HttpReceiver() as old, HttpReceiver() as new, sessions(server, CLIENTS, user="app"):
        watch = watching(tmp_path, [watched(server, thresholds=LOW)], [pagerduty(old, "old")])
        with watch.running():
            old.wait_for(1)
            watch.reload(receivers=[pagerduty(new, "new")], routes=[{"receiver": "new"}])
            new.wait_for(1)
            old.wait_for(2)
            assert [e.action for e in events(old)] == ["trigger", "resolve"]
            assert [e.action for e in events(new)] == ["trigger"]
            rules = watch.document["rules"]
            overrides = rules["overrides"] | {CRITICAL: {"enabled": False}}
            watch.reload(rules=rules | {"overrides": overrides})
            new.wait_for(2)
            assert [e.action for e in events(new)] == ["trigger", "resolve"]
            assert not watch.scrape().firing(CRITICAL)
            assert not watch.logged("unknown receiver")


@pytest.mark.parametrize("before", [["pager"], ["pager", "pager-too"]])
def test_a_receiver_with_another_name_is_told_nothing_of_that(tmp_path, server, before):
    servers = [watched(server, name, thresholds=LOW) for name in ("stays", "goes")]
    with HttpReceiver() as receiver:
        pagers = [pagerduty(receiver, name, url=receiver.url) for name in before]
        renamed = [pagerduty(receiver, "on-call", url=receiver.url)]
        triggers = ["trigger"] * len(before)
        watch = watching(tmp_path, servers, pagers)
        with watch.running():
            with sessions(server, CLIENTS, user="app"):
                receiver.wait_for(2 * len(before))
                watch.reload(
                    servers=servers[:1], receivers=renamed, routes=[{"receiver": "on-call"}]
                )
                assert len(watch.logged("receiver renamed")) == len(before)
                assert all(seen.firing(CRITICAL, "stays") for seen in watch.observe(1))
                assert [e.action for e in events(receiver, "stays")] == triggers
                assert [e.action for e in events(receiver, "goes")] == [*triggers, "resolve"]
            eventually(lambda: events(receiver, "stays")[-1].action == "resolve", "resolved")
        assert [e.action for e in events(receiver, "stays")] == [*triggers, "resolve"]
        assert not watch.logged("unknown receiver")


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_under_way_when_its_receiver_is_renamed_is_sent_once(tmp_path, server, refused):
    with HttpReceiver() as receiver:
        late = Answer(403, "no", delay=2.0) if refused else replace(PAGERDUTY_OK, delay=2.0)
        receiver.script.append(late)
        watch = watching(
            tmp_path,
            [watched(server, thresholds=LOW)],
            [pagerduty(receiver, "pager", url=receiver.url)],
        )
        with watch.running(), sessions(server, CLIENTS, user="app"):
            receiver.wait_for(1)
            watch.reload(
                receivers=[pagerduty(receiver, "on-call", url=receiver.url)],
                routes=[{"receiver": "on-call"}],
            )
            watch.wait_for("told", lambda s: s.one("pgheadroom_outbox_pending") == 0)
            watch.observe(1)
            told = [e for e in events(receiver) if e.family == "connections"]
            assert [e.action for e in told] == ["trigger"]


def test_a_rename_survives_a_kill(tmp_path, server):
    with HttpReceiver() as receiver, sessions(server, CLIENTS, user="app"):
        watch = watching(
            tmp_path,
            [watched(server, thresholds=LOW)],
            [pagerduty(receiver, "pager", url=receiver.url)],
        )
        with watch.running():
            receiver.wait_for(1)
            watch.observe(6)
            watch.reload(
                receivers=[pagerduty(receiver, "on-call", url=receiver.url)],
                routes=[{"receiver": "on-call"}],
            )
            watch.observe(2)
            watch.kill()
        with watch.running():
            watch.observe(2)
        assert [e.action for e in events(receiver)] == ["trigger"]


def test_the_swap_of_a_config_maps_link_is_taken_up_without_a_signal(tmp_path, server):
    folder = tmp_path / "servers.d"

    def publish(version, *names):
        """What the kubelet does: a folder, and a link that is exchanged for another."""
        data = folder / version
        data.mkdir(parents=True)
        servers = [watched(server, name) for name in names]
        (data / "team.yaml").write_text(yaml.safe_dump({"servers": servers}))
        (folder / "..data_tmp").symlink_to(version)
        (folder / "..data_tmp").replace(folder / "..data")

    publish("..2026_1", "one", "two")
    (folder / "team.yaml").symlink_to("..data/team.yaml")
    watch = watching(tmp_path, [], include=["servers.d/*.yaml"])
    with watch.running():
        watch.wait_for("both", lambda s: up(s, "one", "two"))
        (*before,) = watchers(server)
        os.utime(folder / "..2026_1" / "team.yaml")
        publish("..2026_2", "two", "three")
        seen = watch.wait_for("the new one", lambda s: up(s, "two", "three"), 15)
        assert not seen.all("pgheadroom_up", server="one")
        eventually(lambda: len(watchers(server)) == 2, "two sessions")
        assert len({*before} & {*watchers(server)}) == 1
        assert len(watch.logged("configuration reloaded")) == 1
