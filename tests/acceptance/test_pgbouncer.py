"""The installed command in front of a real PgBouncer: the page, and the peer's series beside it."""

import contextlib
import subprocess

import pytest

from exporter.demo.watcher import free_address
from tests.support.debian import MissingError, unpacked
from tests.support.parts import needing
from tests.support.peers import get, samples
from tests.support.pgbouncer import leads_to, queued
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import events, pagerduty, prepare, watched, watching

PROBE = "pgheadroom_connect_probe_success"


def pooled(pooler, name="pgb-1", **changes):
    """One of `poolers:`."""
    return {"name": name, "server": "db", "dsn": pooler.dsn(), **changes}


def told(receiver, **wanted):
    """Whether `receiver` was told something of that kind."""
    return any(
        all(getattr(event, key) == value for key, value in wanted.items())
        for event in events(receiver)
    )


def test_a_full_pool_pages_with_who_waits(tmp_path, start_postgres, start_pgbouncer):
    server = prepare(start_postgres(16, max_connections=30))
    pooler = start_pgbouncer("bookworm", {"app": leads_to(server, pool_size=2)})
    probe = {"credentials": {"dsn": pooler.dsn("app", "postgres")}}
    with HttpReceiver() as receiver:
        watch = watching(
            tmp_path,
            [watched(server)],
            [pagerduty(receiver)],
            poolers=[pooled(pooler, probe=probe)],
            pooler_thresholds={"pool_wait_critical": "700ms", "pool_wait_warning": None},
        )
        with watch.running():
            watch.wait_for("the probe", lambda s: s.all(PROBE, via="pgb-1") == [1])
            watch.wait_for("capacity", lambda s: s.all("pgheadroom_pool_capacity") == [2])
            assert events(receiver) == []
            with pooler.clients(2, application="checkout") as holders:
                for holder in holders:
                    holder.execute("begin")
                with queued(pooler, 3, application="web"):
                    eventually(lambda: told(receiver, severity="critical"), "a page")
                    text = watch.page
            watch.wait_for("calm again", lambda s: not s.all("pgheadroom_alerts", pooler="pgb-1"))
            eventually(lambda: told(receiver, action="resolve"), "its end")
    pages = [request.json for request in receiver.requests]
    page = next(each for each in pages if each["payload"]["severity"] == "critical")
    assert page["payload"]["group"] == "pooler:pgb-1"
    assert "s in pool app/postgres of pgb-1" in page["payload"]["summary"]
    details = page["payload"]["custom_details"]
    assert "pool app/postgres: 2 of 2 server connections, 100 %" in details["arithmetic"]
    assert details["waiting_applications"][0].startswith("web (postgres on app): ")
    assert len({each.dedup_key for each in events(receiver)}) == 1
    assert "pgb-1, PgBouncer 1." in text
    assert "<td>web</td>" in text


def test_a_pooler_that_is_missing_or_wrong_leaves_the_rest_alone(
    tmp_path, start_postgres, start_pgbouncer
):
    server = prepare(start_postgres(16, max_connections=30))
    pooler = start_pgbouncer("bookworm", {"app": leads_to(server)})
    watch = watching(
        tmp_path,
        [watched(server), {"name": "swapped", "dsn": pooler.dsn(user="stats")}],
        poolers=[
            pooled(pooler, "good"),
            pooled(pooler, "gone", dsn=f"host=127.0.0.1 port={free_address().split(':')[1]}"),
            pooled(pooler, "strict", dsn=pooler.dsn(user="nobody")),
            pooled(pooler, "postgres", dsn=server.dsn()),
        ],
    )
    with watch.running():
        seen = watch.wait_for(
            "all tried", lambda s: len(s.all("pgheadroom_pooler_poll_failure")) == 3
        )
        up = {name: seen.one("pgheadroom_pooler_up", pooler=name) for name in
              ("good", "gone", "strict", "postgres")}  # fmt: skip
        assert up == {"good": 1, "gone": 0, "strict": 0, "postgres": 0}
        assert seen.up("db")
        assert not seen.up("swapped")
        log = watch.log
    for message in (
        "add the user to PgBouncer's stats_users",
        "the DSN leads to a Postgres server",
        "the DSN leads to PgBouncer's console",
    ):
        assert log.count(message) == 1, message


@contextlib.contextmanager
def pgbouncer_exporter(dsn, folder):
    """The peer over the console at `dsn`; gives the address of its metrics."""
    with needing(MissingError):
        root = unpacked("sid", "prometheus-pgbouncer-exporter", libraries=False)
    listen = free_address()
    url = f"http://{listen}/metrics"
    program = str(root / "usr/bin/prometheus-pgbouncer-exporter")
    command = [program, f"--web.listen-address={listen}"]
    environ = {"PGBOUNCER_EXPORTER_CONNECTION_STRING": dsn}
    with (folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    try:
        eventually(lambda: get(url) is not None, "the peer answers")
        yield url
    finally:
        process.terminate()
        process.wait()


#: What each of the two changes by looking, and what the peer says of its own process.
MOVING = ("pgbouncer_exporter_", "pgbouncer_used_clients", "pgbouncer_free_clients")


def compared(text):
    """The peer's series, less the labels that we add and the sums of the console's own sessions."""
    found = {}
    for sample in samples(text):
        labels = {k: v for k, v in sample.labels.items() if k not in ("server", "pooler")}
        own = "pgbouncer" in (labels.get("database"), labels.get("name"))
        if sample.name.startswith("pgbouncer_") and not sample.name.startswith(MOVING) and not own:
            # The peer multiplies microseconds by 1e-6, which ends in another last digit.
            found[sample.name, *sorted(labels.items())] = round(sample.value, 6)
    return found


@pytest.mark.parametrize("suite", ["bookworm", "sid"])
def test_the_series_agree_with_those_of_pgbouncer_exporter(
    tmp_path, start_postgres, start_pgbouncer, suite
):
    server = prepare(start_postgres(16, max_connections=30))
    databases = {"app": leads_to(server, pool_size=2, reserve_pool=1), "idle": leads_to(server)}
    settings = {"max_user_connections": 9, "ignore_startup_parameters": "extra_float_digits"}
    pooler = start_pgbouncer(suite, databases, settings)
    watch = watching(tmp_path, [watched(server)], poolers=[pooled(pooler, clients=True)])
    url = f"postgres://stats@127.0.0.1:{pooler.port}/pgbouncer?sslmode=disable"
    with pooler.clients(4, application="web") as clients, watch.running():
        for client in clients[:2]:
            client.execute("begin")
            client.execute("select 1")
        watch.wait_for("the pooler", lambda s: s.one("pgheadroom_pooler_up") == 1)
        with pgbouncer_exporter(url, tmp_path) as peer:
            left: list[object] = []

            def differences():
                theirs = compared(get(peer) or "")
                ours = compared(get(f"http://{watch.address}/metrics") or "")
                same = theirs.items() & ours.items()
                left[:] = [
                    (key, theirs[key], ours.get(key))
                    for key in theirs
                    if (key, theirs[key]) not in same
                ]
                return left

            try:
                eventually(lambda: not differences(), "no difference")
            finally:
                assert left == []
            theirs = {key[0] for key in compared(get(peer) or "")}
            ours = get(f"http://{watch.address}/metrics") or ""
    assert len(theirs) > 35
    newer = {name for name in theirs if "_stats_totals_" in name}
    older = {name.replace("_stats_totals_", "_stats_") for name in newer}
    # 0.12.0 loses it on 1.24 and later; 0.12.1 has it again.
    late = {"pgbouncer_databases_reserve_pool"}
    names = {key[0] for key in compared(ours)}
    assert older <= names
    assert names - theirs <= older | late
