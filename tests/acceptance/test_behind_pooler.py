"""A page about an idle transaction behind PgBouncer names the client that holds it."""

import os
import socket
import urllib.request
from contextlib import closing

import psycopg

from tests.support.pgbouncer import leads_to
from tests.support.postgres import frozen
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import events, pagerduty, prepare, watched, watching

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def holding(pooler):
    """A client that has left a transaction open, and the address of its own end."""
    dsn = pooler.dsn("app", "app", application_name="checkout-lambda")
    client = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)
    client.execute("begin; select 'forgotten'")
    with socket.socket(fileno=os.dup(client.fileno())) as line:
        return closing(client), line.getsockname()


def idle(receiver):
    """What the pager was told of idle transactions."""
    return events(receiver, family="idle_in_transaction")


def told(receiver):
    """What the pager was told of who is behind the pooler, notification by notification."""
    found = (
        r.json["payload"]["custom_details"]
        for r in list(receiver.requests)
        if r.json.get("payload")
    )
    return [each.get("behind_the_pooler", []) for each in found]


def test_the_page_names_the_client_and_waits_for_no_pooler(
    tmp_path, start_postgres, start_pgbouncer
):
    server = prepare(start_postgres(16))
    pooler = start_pgbouncer("trixie", {"app": leads_to(server)})
    with HttpReceiver() as receiver:
        watch = watching(
            tmp_path,
            [watched(server, thresholds={"idle_in_transaction_seconds": 5})],
            [pagerduty(receiver, client_addresses=True)],
            poolers=[{"name": "pgb", "server": "db", "dsn": pooler.dsn()}],
        )
        with watch.running():
            watch.wait_for("the pooler is seen", lambda s: s.all("pgheadroom_pooler_up") == [1])
            client, (address, port) = holding(pooler)
            with client:
                eventually(lambda: bool(idle(receiver)), "a page", 30)
                (line,) = told(receiver)[0]
                assert "by pgb: checkout-lambda (app on app), " in line
                assert line.endswith(f"from {address} port {port}")
                (behind,) = watch.holders("db")["behind"]
                assert (behind["application_name"], behind["client_port"], behind["doubt"]) == (
                    "checkout-lambda", port, "",
                )  # fmt: skip


def test_a_frozen_pooler_delays_no_page(tmp_path, start_postgres, start_pgbouncer):
    server = prepare(start_postgres(16))
    pooler = start_pgbouncer("trixie", {"app": leads_to(server)})
    with HttpReceiver() as receiver:
        watch = watching(
            tmp_path,
            [watched(server, thresholds={"idle_in_transaction_seconds": 5})],
            [pagerduty(receiver)],
            poolers=[{"name": "pgb", "server": "db", "dsn": pooler.dsn()}],
        )
        with watch.running():
            watch.wait_for("the pooler is seen", lambda s: s.all("pgheadroom_pooler_up") == [1])
            client, _ = holding(pooler)
            with client, frozen(pooler.pid):
                eventually(lambda: bool(idle(receiver)), "a page", 30)
                age = watch.scrape().one("pgheadroom_snapshot_age_seconds", server="db")
                assert age < 3, "the server is polled all the while"
            assert told(receiver)[0] == []


def test_who_asks_is_answered_without_any_incident(tmp_path, start_postgres, start_pgbouncer):
    server = prepare(start_postgres(16))
    pooler = start_pgbouncer("bookworm", {"app": leads_to(server)})
    watch = watching(
        tmp_path,
        [watched(server, client_addresses=False)],
        poolers=[{"name": "pgb", "server": "db", "dsn": pooler.dsn()}],
    )
    with watch.running():
        watch.wait_for("the pooler is seen", lambda s: s.all("pgheadroom_pooler_up") == [1])
        client, _ = holding(pooler)
        with client:
            eventually(lambda: bool(watch.holders("db")["behind"]), "an attribution", 20)
            (behind,) = watch.holders("db")["behind"]
    assert (behind["application_name"], behind["client_addr"]) == ("checkout-lambda", "")
    assert not watch.logged("Traceback")
