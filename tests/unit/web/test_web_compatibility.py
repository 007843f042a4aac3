import tempfile
import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board, Entry
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.web.port import Port
from exporter.web.server import application
from tests.support.states import group, state

ADDRESSES = {"db-a.example.com:5432": "a", "[::1]:6543": "b"}


def board(*states):
    made = Board()
    for each in states:
        made.put(Entry(each))
        made.put(Entry(each, server_families(each, Caps(), 1000.0)))
    return made


def client(*states, **changes):
    port = Port(
        board=board(*states),
        clock=lambda: 1000.0,
        alive=lambda: True,
        own_families=tuple,
        own_book=Book,
        deliveries=list,
        version="1.2.3",
        addresses=lambda: ADDRESSES,
    )
    return TestClient(application(replace(port, **changes)))


A, B = state(group(3), server="a"), state(group(4), server="b")
COUNT_A = 'pg_stat_activity_count{application_name="web"'


def test_one_server_has_them_on_metrics():
    text = client(A).get("/metrics").text
    assert COUNT_A in text
    assert "pgheadroom_connections_used" in text
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))


def test_several_servers_have_them_on_probe_alone():
    site = client(A, B)
    assert "pg_" not in site.get("/metrics").text
    answer = site.get("/probe", params={"target": "b"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'server="b",state="idle",usename="app"' in answer.text
    assert 'server="a"' not in answer.text
    assert "pgheadroom_" not in answer.text


@pytest.mark.parametrize(
    ("target", "server"),
    [
        ("a", "a"),
        ("db-a.example.com:5432", "a"),
        ("db-a.example.com", "a"),
        ("postgresql://me:secret@db-a.example.com:5432/shop?sslmode=require", "a"),
        ("db-a.example.com:5432/postgres?sslmode=disable", "a"),
        ("[::1]:6543", "b"),
    ],
)
def test_a_target_is_a_name_or_what_the_peer_takes(target, server):
    answer = client(A, B).get("/probe", params={"target": target})
    assert answer.status_code == 200
    assert f'pg_up{{server="{server}"}} 1.0' in answer.text


@pytest.mark.parametrize(
    "target", ["nix", "db-a.example.com:1", "postgresql://me:secret@elsewhere/shop", "://@", "::"]
)
def test_an_unknown_target_is_told_the_names_and_not_repeated(target):
    answer = client(A, B).get("/probe", params={"target": target})
    assert answer.status_code == 404
    assert answer.text == "nothing has that name or address; there are: a, b\n"


def test_a_target_is_needed():
    answer = client(A, B).get("/probe")
    assert answer.status_code == 400
    assert "there are: a, b" in answer.text


def test_they_can_be_turned_off():
    site = client(A, compatibility=lambda: False)
    assert "pg_" not in site.get("/metrics").text
    answer = site.get("/probe", params={"target": "a"})
    assert (answer.status_code, answer.text) == (404, "metrics.compatibility is off\n")


def test_before_the_first_poll_nothing_is_claimed():
    waiting = Board()
    waiting.put(Entry(state(snapshot=None)))
    site = client(board=waiting)
    assert "pg_up" not in site.get("/metrics").text
    assert site.get("/probe", params={"target": "prod"}).text == ""


def process(site):
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(site.get("/metrics").text)
        for sample in family.samples
        if sample.name.startswith("process_")
    }


def test_the_process_itself():
    site = client(A)
    before = process(site)
    with tempfile.TemporaryFile():
        after = process(site)
    assert after["process_open_fds"] == before["process_open_fds"] + 1
    assert after["process_open_fds"] < after["process_max_fds"]
    assert 0 < before["process_resident_memory_bytes"] < before["process_virtual_memory_bytes"]
    assert 0 < before["process_cpu_seconds_total"] <= time.process_time()
    assert time.time() - 86400 < before["process_start_time_seconds"] < time.time()
