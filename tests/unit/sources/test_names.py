"""Names are looked up beside one another, each once, and libpq finds nothing left to look up."""

from __future__ import annotations

import asyncio
import threading

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from exporter.sources.names import Lookups, with_addresses


class Directory(Lookups):
    """A name server of its own: names that it knows, and silence for `silent`."""

    def __init__(self, **names: list[str]) -> None:
        super().__init__()
        self.names = names
        self.asked: list[str] = []
        self.speaks = threading.Event()

    def _run(self, found, host, port):
        self.asked.append(host)
        if host == "silent":
            self.speaks.wait(30)
        self._forget(host, port)
        if host in self.names:
            found.set_result(self.names[host])
        else:
            found.set_exception(OSError(-2, "Name or service not known"))


def resolved(directory=None, **params):
    return asyncio.run(with_addresses(params, directory or Directory()))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"host": "127.0.0.1"},
        {"host": "::1", "port": "1"},
        {"host": "/run/postgresql"},
        {"host": "@abstract"},
        {"host": "db", "hostaddr": "10.0.0.1"},
        {"host": "db,db2", "port": "1,2,3"},
        {"service": "prod"},
    ],
)
def test_what_needs_no_look_up_stays_as_it_is(params):
    assert resolved(**params) == params


def test_a_name_with_several_addresses_is_tried_at_each():
    directory = Directory(db=["10.0.0.1", "::2"])
    found = resolved(directory, host="db", port="6543", user="u")
    assert found == {"host": "db,db", "hostaddr": "10.0.0.1,::2", "port": "6543,6543", "user": "u"}
    assert make_conninfo("", **found)


def test_of_several_hosts_those_without_an_address_are_left_out():
    directory = Directory(db=["10.0.0.1"])
    found = resolved(directory, host="nobody,db,/run,10.0.0.9", port="1,2,3,")
    assert found == {
        "host": "db,/run,10.0.0.9",
        "hostaddr": "10.0.0.1,,10.0.0.9",
        "port": "2,3,",
    }


def test_without_any_address_it_is_said_in_psycopgs_words():
    with pytest.raises(
        psycopg.OperationalError, match=r"^failed to resolve host 'nobody': .*Name or"
    ):
        resolved(host="nobody")


def test_the_systems_resolver_is_asked():
    found = asyncio.run(with_addresses({"host": "localhost", "port": "1"}))
    assert "127.0.0.1" in found["hostaddr"].split(",")
    with pytest.raises(psycopg.OperationalError, match="not a name"):
        asyncio.run(with_addresses({"host": "a" * 300 + ".b"}))


def test_a_name_server_that_is_silent_holds_up_those_alone_who_ask_for_its_name():
    directory = Directory(db=["10.0.0.1"], silent=["10.0.0.2"])

    async def scenario():
        waiting = [
            asyncio.create_task(with_addresses({"host": "silent"}, directory)) for _ in range(100)
        ]
        found = await with_addresses({"host": "db"}, directory)
        assert found["hostaddr"] == "10.0.0.1"
        waiting[0].cancel()
        directory.speaks.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        known = [each for each in answers[1:] if not isinstance(each, BaseException)]
        assert [each["hostaddr"] for each in known] == ["10.0.0.2"] * 99

    asyncio.run(scenario())
    assert sorted(directory.asked) == ["db", "silent"]
