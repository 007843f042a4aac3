"""From a backend to the client behind a pooler: what is proved, and what is only likely."""

from dataclasses import replace

import pytest

from exporter.snapshot.attribution import (
    HeldBackend,
    PoolSocket,
    SocketReading,
    attribute,
    leads_here,
)
from exporter.snapshot.pool import PoolDatabase

HELD = HeldBackend(
    pid=71, backend_start=10, xact_start=20, seconds=5.0, datname="shop", usename="app",
    client_addr="10.0.0.7", client_port=55_000, state="idle in transaction",
)  # fmt: skip
SERVER = PoolSocket(
    "S", "app", "shop", "sv_active", "10.0.0.5", 5432, "10.0.0.7", 55_000, "0xa", "0xb", 71
)
CLIENT = PoolSocket(
    "C", "app", "shop", "cl_active", "10.9.9.9", 40_001, "10.0.0.7", 6432, "0xb", "0xa",
    application_name="checkout",
)  # fmt: skip
SHOP = {"shop": PoolDatabase("shop", host="10.0.0.5", port=5432, database="shop")}


def reading(*sockets, pooler="pgb", databases=None, leads_here=("shop",)):
    known = SHOP if databases is None else databases
    return SocketReading(pooler, sockets or (SERVER, CLIENT), known, frozenset(leads_here))


def found(*readings, before=HELD, after=HELD):
    """What is said of the one backend."""
    later = () if after is None else (after,)
    said = attribute((before,), readings or (reading(),), later)
    return said[0] if said else None


def test_the_client_that_the_sockets_link_to_the_backend():
    seen = found()
    assert seen is not None
    assert (seen.pooler, seen.application_name, seen.usename, seen.datname) == (
        "pgb", "checkout", "app", "shop",
    )  # fmt: skip
    assert (seen.client_addr, seen.client_port, seen.client_pid) == ("10.9.9.9", 40_001, None)
    assert (seen.pid, seen.seconds, seen.doubt) == (71, 5.0, "")


def test_unix_sockets_on_both_sides():
    held = replace(HELD, client_addr="", client_port=-1)
    server = replace(SERVER, addr="unix", local_addr="unix", local_port=6432)
    client = replace(CLIENT, addr="unix", port=6432, remote_pid=4242)
    seen = found(reading(server, client), before=held, after=held)
    assert seen is not None
    assert (seen.client_addr, seen.client_port, seen.client_pid) == ("unix", None, 4242)
    assert seen.doubt == ""


@pytest.mark.parametrize(
    ("server", "client", "doubt"),
    [
        ({"local_port": 55_001}, {}, "ports"),
        ({"local_addr": "10.0.0.8"}, {}, "addresses"),
        ({"addr": "unix"}, {}, "unix socket"),
        ({"state": "sv_idle"}, {}, "nobody uses"),
        ({"user": "other"}, {}, "roles"),
        ({"link": ""}, {}, "no client is linked"),
        ({}, {"link": "0xc"}, "no client is linked"),
        ({}, {"ptr": "0xc"}, "no client is linked"),
        ({}, {"state": "cl_waiting"}, "no client is linked"),
    ],
)
def test_what_does_not_agree_is_unknown(server, client, doubt):
    seen = found(reading(replace(SERVER, **server), replace(CLIENT, **client)))
    assert seen is not None
    assert doubt in seen.doubt
    assert (seen.application_name, seen.usename, seen.client_addr, seen.client_port) == (
        "", "", "", None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "after",
    [None, replace(HELD, xact_start=21), replace(HELD, backend_start=11)],
    ids=["ended", "another transaction", "another backend of the same pid"],
)
def test_another_transaction_afterwards_proves_nothing(after):
    seen = found(after=after)
    assert seen is not None
    assert "ended" in seen.doubt
    assert seen.application_name == ""


def test_a_young_transaction_is_not_attributed():
    young = replace(HELD, seconds=0.9)
    seen = found(before=young, after=young)
    assert seen is not None
    assert seen.doubt != ""


def test_a_backend_that_came_by_another_way_is_left_out():
    assert found(reading(replace(SERVER, remote_pid=72), CLIENT)) is None
    assert found() is not None, "the same one, when it did not"


def test_the_same_pid_on_another_server_is_left_out():
    both = SHOP | {"else": PoolDatabase("else", host="10.0.0.6", port=5432, database="shop")}
    other = replace(SERVER, database="else", local_port=51_000, ptr="0xc", link="0xb")
    seen = found(reading(SERVER, CLIENT, other, databases=both))
    assert seen is not None
    assert seen.doubt == ""
    assert found(reading(other, CLIENT, databases=both)) is None


def test_an_address_that_is_written_otherwise_needs_both_ends_of_the_connection():
    alias = {"shop": PoolDatabase("shop", host="db.internal", port=5432, database="shop")}
    seen = found(reading(databases=alias, leads_here=()))
    assert seen is not None
    assert (seen.application_name, seen.doubt) == ("checkout", "")
    hidden = replace(HELD, client_addr="")
    assert found(reading(databases=alias, leads_here=()), before=hidden, after=hidden) is None
    local = replace(HELD, client_addr="", client_port=-1)
    server = replace(SERVER, addr="unix", local_addr="unix", local_port=6432)
    assert found(reading(server, CLIENT, leads_here=()), before=local, after=local) is None


def test_databases_that_lead_to_the_server():
    tcp = PoolDatabase("tcp", host="db1, 10.0.0.5", port=5432)
    local = PoolDatabase("local", host="/run/a", port=5432)
    assert leads_here([tcp, local], ["10.0.0.5:5432"]) == {"tcp", "local"}
    assert leads_here([tcp, local], ["10.0.0.5:5433"]) == set()
    second = PoolDatabase("second", host="/run/b", port=5432)
    assert leads_here([tcp, local, second], ["10.0.0.5:5432"]) == {"tcp"}, "which of the two?"
    assert leads_here([local, second], ["/run/b:5432"]) == {"second"}


def test_names_of_the_pooler_are_not_those_of_the_server():
    alias = {"web": PoolDatabase("web", database="shop", force_user="app")}
    server = replace(SERVER, database="web", user="pooled")
    client = replace(CLIENT, database="web", user="alice")
    seen = found(reading(server, client, databases=alias, leads_here=("web",)))
    assert seen is not None
    assert (seen.usename, seen.datname, seen.doubt) == ("alice", "web", "")
    wrong = {"web": PoolDatabase("web", database="stock", force_user="app")}
    seen = found(reading(server, client, databases=wrong, leads_here=("web",)))
    assert seen is not None
    assert "databases" in seen.doubt


def test_two_poolers_cannot_both_hold_it():
    seen = found(reading(), reading(pooler="pgb-2"))
    assert seen is not None
    assert "several" in seen.doubt
    moved = reading(replace(SERVER, local_port=1), CLIENT, pooler="pgb-2")
    for order in ((reading(), moved), (moved, reading())):
        seen = found(*order)
        assert seen is not None
        assert (seen.pooler, seen.doubt) == ("pgb", ""), "the addresses tell which"


def test_without_addresses_the_port_must_agree():
    held = replace(HELD, client_addr="")
    seen = found(before=held, after=held)
    assert seen is not None
    hidden = seen.without_address()
    assert (hidden.application_name, hidden.client_addr, hidden.client_port) == (
        "checkout", "", None,
    )  # fmt: skip
