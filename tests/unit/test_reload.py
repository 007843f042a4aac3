"""When a configuration is read again, and what becomes of one that cannot be used."""

from __future__ import annotations

import asyncio
import logging

import pytest

from exporter.reload import Origin, Reloader

GOOD = "servers: [{name: a, dsn: 'host=a'}]\n"


class Force:
    """What was put in force, in order; it can be made to fail."""

    def __init__(self):
        self.configs = []
        self.fails = False

    async def __call__(self, config, rules):
        assert rules.rules
        if self.fails:
            raise RuntimeError("broken")
        self.configs.append(config)


def reloads(path, *texts, **changes):
    """Reload once for each text, after writing it; the reloader and what it has put in force."""
    path.write_text(GOOD)
    origin = Origin(path, {}, changes)
    force, now = Force(), [1000.0]

    async def scenario():
        reloader = Reloader(origin, origin.read(), force, lambda: now[0])
        for text in texts:
            force.fails = text == "fails"
            path.write_text(GOOD if text == "fails" else text)
            now[0] += 1
            await reloader._reload("")
        return reloader

    return asyncio.run(scenario()), force.configs


@pytest.fixture(autouse=True)
def logged(caplog):
    """The messages and the keys of every event."""
    caplog.set_level(logging.INFO, logger="exporter.reload")
    return lambda: [(record.getMessage(), vars(record)) for record in caplog.records]


def messages(events):
    return [message for message, _ in events]


def test_what_is_read_is_put_in_force_with_the_command_lines_values_over_it(tmp_path, logged):
    text = "servers: [{name: b, dsn: 'host=b'}]\n"
    reloader, configs = reloads(tmp_path / "c.yaml", text, GOOD, listen="127.0.0.1:1")
    assert [[each.name for each in config.servers] for config in configs] == [["b"], ["a"]]
    assert {config.listen for config in configs} == {"127.0.0.1:1"}
    assert (reloader.successful, reloader.succeeded_at) == (True, 1002.0)
    assert messages(logged()) == ["configuration reloaded"] * 2
    keys = logged()[0][1]
    assert (keys["added"], keys["removed"], keys["changed"]) == ("b", "a", "none")


def test_one_with_problems_is_refused_in_one_event_and_the_next_good_one_used(tmp_path, logged):
    bad = "servers: [{name: a, dsn: nowhere}, {name: b, dns: x}]\nlisten: x\n"
    reloader, configs = reloads(tmp_path / "c.yaml", bad)
    assert configs == []
    assert (reloader.successful, reloader.succeeded_at) == (False, 1000.0)
    ((_, keys),) = logged()
    assert keys["levelname"] == "ERROR"
    for place in ("servers[0].dsn", "servers[1].dns", "servers[1].dsn", "listen"):
        assert f"{place}: " in keys["problems"]
    reloader, configs = reloads(tmp_path / "c.yaml", bad, GOOD)
    assert (reloader.successful, len(configs)) == (True, 1)


def test_what_goes_wrong_on_the_way_is_said_and_ends_no_reloading(tmp_path, logged):
    reloader, configs = reloads(tmp_path / "c.yaml", "fails", GOOD)
    assert messages(logged()) == ["configuration not put in force", "configuration reloaded"]
    assert (reloader.successful, len(configs)) == (True, 1)


def test_what_is_fixed_at_the_start_stays(tmp_path, logged):
    _, (config,) = reloads(tmp_path / "c.yaml", GOOD + "install_id: other\nlisten: ':1'\n")
    assert (config.install_id, config.listen) == ("pgheadroom", "127.0.0.1:9970")
    assert messages(logged()) == ["changed keys wait for a restart", "configuration reloaded"]
    assert logged()[0][1]["keys"] == "listen, install_id"


@pytest.mark.parametrize("steps", range(6))
def test_a_reload_that_is_asked_for_just_before_the_end_does_not_outlive_it(tmp_path, steps):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    force = Force()

    async def scenario():
        looked = asyncio.Event()
        loop = asyncio.get_running_loop()

        class Seen(Origin):
            def fingerprint(self, config):
                loop.call_soon_threadsafe(looked.set)
                return super().fingerprint(config)

        origin = Seen(path, {})
        reloader = Reloader(origin, origin.read(), force, lambda: 1000.0)
        running = asyncio.create_task(reloader.run())
        await looked.wait()
        # The thread has answered, and whoever runs waits to be asked.
        await asyncio.to_thread(int)
        for _ in range(20):
            await asyncio.sleep(0)
        reloader.ask()
        for _ in range(steps):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait({running}, timeout=10)
        return running.cancelled()

    assert asyncio.run(scenario())
    assert force.configs == []
