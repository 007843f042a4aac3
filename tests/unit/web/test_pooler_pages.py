from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.board import Board, Entry, PoolerEntry
from exporter.metrics.pool_view import PoolerCaps
from exporter.metrics.pooler import pooler_families
from exporter.snapshot.blockers import Blocker
from exporter.web.page import html
from exporter.web.port import DeadRow, DeliveryRow, Port
from exporter.web.server import application
from tests.support.browser import laid_out_width
from tests.support.poolers import pool, pooled, pooler_state, waiting
from tests.support.states import failure, group, snapshot, state

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def site(*pooler_states, now=1000.0, tried=True):
    board = Board()
    board.put(Entry(state(group(3))))
    board.put(Entry(state(group(3))))
    for each in pooler_states:
        board.put_pooler(PoolerEntry(each))
        if tried:
            families = pooler_families(each, PoolerCaps(), now)
            board.put_pooler(PoolerEntry(each, families, Book()))
    port = Port(
        board=board,
        clock=lambda: now,
        alive=lambda: True,
        own_families=tuple,
        own_book=Book,
        deliveries=list,
        version="1.2.3",
    )
    return port, TestClient(application(port))


BUSY = pooled(
    pool("shop", "app", sv_active=25, cl_waiting=14, wait=3.25),
    pool("logs", "bi", sv_active=1),
    lists={"used_clients": 40},
    clients=(waiting("checkout", 9), waiting("web", 5)),
)


def test_the_page_shows_pools_and_who_waits_in_them():
    port, _ = site(pooler_state(snapshot=BUSY, capacity=50, warnings=("so_reuseport is on",)))
    text = html(port)
    for words in (
        "pgb-1, PgBouncer 1.24.1 in front of prod",
        "pool shop/app: 25 of 25 server connections, 100 %",
        "14 wait, longest 3.2 s",
        "40 of 100 clients, 40 %",
        "may open 50 server connections",
        "so_reuseport is on",
        "checkout",
    ):
        assert words in text
    assert text.index("<td>shop</td>") < text.index("<td>logs</td>"), "who needs help comes first"


@pytest.mark.parametrize(
    ("state_of", "words"),
    [
        (pooler_state(snapshot=None), "not polled yet"),
        (pooler_state(snapshot=None, failure=failure()), "connection refused. check the port"),
        (pooler_state(pool(), failure=failure(), failing_since=900.0), "data is 0 s old"),
    ],
)
def test_the_page_says_what_it_does_not_know(state_of, words):
    port, _ = site(state_of)
    assert words in html(port)


TELEPHONE = 390
BLOCKER = Blocker(4711, "application", "a-service-of-a-long-name", "shop_production", "",
                  "idle in transaction (aborted)", 4000.0, 4000.0, 12)  # fmt: skip


def test_the_page_does_not_scroll_sideways_on_a_telephone(tmp_path):
    port, _ = site(pooler_state(snapshot=BUSY, capacity=50, pooler="x" * 63))
    shot = replace(snapshot(group(3, "a-service-of-a-long-name")), blockers=(BLOCKER,))
    alert = Alert("PostgresExhausted", {"severity": "critical"}, AlertState.FIRING, 990.0,
                  990.0, 1.0, {"summary": "production: no slot is left"})  # fmt: skip
    port.board.put(Entry(state(snapshot=shot), book=Book({"x": alert})))
    full = replace(
        port,
        deliveries=lambda: [DeliveryRow("pagerduty-platform", 12_345, 678, 90, "x" * 120)],
        dead=lambda: [DeadRow("pagerduty-platform", 10.0, "y" * 80, "rate_limited")],
    )
    assert laid_out_width(html(full), TELEPHONE, tmp_path) == TELEPHONE


@given(NAMES, NAMES)
def test_any_name_is_text(name, database):
    shot = pooled(pool(f"{database}<b>", sv_active=1, cl_waiting=1), clients=(
        waiting(f"{name}<script>", 1, f"{database}<b>"),
    ))  # fmt: skip
    port, _ = site(pooler_state(snapshot=shot))
    text = html(port)
    assert "<script" not in text
    assert "<b>" not in text


def test_ready_means_that_every_pooler_was_tried_too():
    _, client = site(pooler_state(snapshot=None), tried=False)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not yet polled: pgb-1\n")
    _, client = site(pooler_state(snapshot=None, failure=failure()))
    assert client.get("/readyz").status_code == 200


def test_one_pooler_is_on_metrics_in_both_names_of_the_peer():
    _, client = site(pooler_state(snapshot=BUSY))
    text = client.get("/metrics").text
    labels = 'database="shop",pooler="pgb-1",server="prod",user="app"'
    assert f"pgheadroom_pool_clients_waiting{{{labels}}} 14.0" in text
    assert f"pgbouncer_pools_client_waiting_connections{{{labels}}} 14.0" in text
    assert f"pgbouncer_pools_client_maxwait_seconds{{{labels}}} 3.0" in text
    assert 'pgheadroom_pooler_snapshot_age_seconds{pooler="pgb-1",server="prod"} 0.0' in text


def test_of_several_poolers_each_is_a_target():
    other = pooler_state(pool(), pooler="pgb-2")
    _, client = site(pooler_state(snapshot=BUSY), other)
    assert "pgbouncer_up" not in client.get("/metrics").text
    text = client.get("/probe", params={"target": "pgb-2"}).text
    assert 'pgbouncer_up{pooler="pgb-2",server="prod"} 1.0' in text
    assert "pgb-1" not in text


def test_holders_are_of_servers_alone():
    _, client = site(pooler_state(snapshot=BUSY))
    servers = client.get("/api/v1/holders").json()["data"]["servers"]
    assert [each["server"] for each in servers] == ["prod"]
