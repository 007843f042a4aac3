"""Side by side with postgres_exporter on one server: the same series with the same values."""

import contextlib
import re
import subprocess

import psycopg
import pytest

from tests.support.pages import ROOT
from tests.support.peers import debian_program, get, postgres_exporter, samples
from tests.support.postgres import sessions
from tests.support.receivers import eventually
from tests.support.watching import prepare, watched, watching

COUNT, DURATION = "pg_stat_activity_count", "pg_stat_activity_max_tx_duration"
SETTINGS = {
    "max_connections": 40,
    "wal_level": "logical",
    "autovacuum": False,
    "reserved_connections": 2,
    "idle_in_transaction_session_timeout": "90s",
    "idle_session_timeout": "1h",
    "statement_timeout": "10min",
    "lock_timeout": "2500ms",
    "authentication_timeout": "2min",
}
DATABASES = ("shop", "blog")


@contextlib.contextmanager
def crowd(server):
    """Something of everything that has a state and a database; the watchers are in `postgres`."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context

        def clients(number, user, dbname, application_name, **params):
            names = {"user": user, "dbname": dbname, "application_name": application_name}
            return enter(sessions(server, number, **names, **params))

        clients(3, "app", "shop", "web")
        clients(2, "app", "blog", "")
        clients(1, "odd", "shop", 'quote " and \\ and é')
        (holder, aborted) = clients(2, "app", "shop", "etl")
        holder.execute("begin; lock table stock in access exclusive mode")
        aborted.execute("begin")
        with contextlib.suppress(psycopg.Error):
            aborted.execute("select 1/0")
        for sql in (
            "set lock_timeout = 0; select * from stock",
            "set statement_timeout = 0; select pg_sleep(600)",
            "set debug_parallel_query = on; set statement_timeout = 0; select pg_sleep(600)",
        ):
            (busy,) = clients(1, "app", "shop", "batch")
            busy.pgconn.send_query(sql.encode())
        clients(1, "postgres", "shop", "logical", replication="database")
        clients(1, "postgres", "shop", "physical", replication="true")
        try:
            yield
        finally:
            server.psql(
                "select pg_terminate_backend(pid) from pg_stat_activity where pid <>"
                " pg_backend_pid() and (state = 'active' or backend_type = 'walsender')"
            )


def filled(server):
    """Roles with and without limits, and the databases of the crowd."""
    prepare(server)
    server.psql(
        "create role peer login; grant pg_monitor to peer;"
        "create role odd login connection limit 4;"
        "create role boss superuser login connection limit 3;"
        "create database shop connection limit 30; create database blog; create database quiet;"
    )
    server.psql("create table stock (n int); grant all on stock to app;", dbname="shop")


def compared(text):
    """Every series of postgres_exporter that means the same a moment later, less `server`."""
    found = {}
    for sample in samples(text):
        labels = {key: value for key, value in sample.labels.items() if key != "server"}
        # There each watcher sees the other and not itself.
        here = labels.get("datname") == "postgres" and sample.name != "pg_database_connection_limit"
        if (
            sample.name.startswith("pg_")
            and not sample.name.startswith("pg_exporter_")
            and not here
        ):
            found[sample.name, *sorted(labels.items())] = sample.value
    return found


def durations(series):
    return {key: value for key, value in series.items() if key[0] == DURATION}


def documented():
    """The series in the table of docs/migrating.md; 18 has all of them."""
    page = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(pg_\w+)` \|", page, re.MULTILINE))


def types(text):
    return dict(re.findall(r"^# TYPE (pg_\w+) (\w+)$", text, re.MULTILINE))


class Both:
    """The two, scraped one after the other."""

    def __init__(self, watch, url):
        self._watch, self._url = watch, url
        self.ours = self.theirs = self.later = ""

    def scrape(self):
        self.ours = self._polled()
        self.theirs = get(self._url) or ""
        self.later = self._polled()

    def _polled(self):
        """A scrape of ours, of a poll that begins after now."""
        number = "pg_exporter_scrapes_total"
        seen = self._watch.scrape().one(number)
        self._watch.wait_for("two more polls", lambda s: s.one(number) >= seen + 2)
        return get(f"http://{self._watch.address}/metrics") or ""

    def differences(self):
        """What is not the same, of all that we have."""
        self.scrape()
        ours, theirs = compared(self.ours), compared(self.theirs)
        theirs = {key: value for key, value in theirs.items() if key[0] in types(self.ours)}
        ages = {key for key in ours.keys() & theirs.keys() if key[0] == DURATION}
        return {
            key: (ours.get(key), theirs.get(key))
            for key in ours.keys() | theirs.keys()
            if key not in ages and ours.get(key) != theirs.get(key)
        }


@pytest.mark.parametrize("major", [16, 18])
def test_the_series_agree_value_by_value(tmp_path, start_postgres, major):
    server = start_postgres(major, **SETTINGS)
    filled(server)
    dsn = server.dsn("peer", sslmode="disable")
    watch = watching(tmp_path, [watched(server)])
    with (
        crowd(server),
        watch.running(),
        postgres_exporter(dsn, tmp_path, "--collector.postmaster") as url,
    ):
        both = Both(watch, url)
        with contextlib.suppress(AssertionError):
            eventually(lambda: not both.differences(), "the same series", 20)
        assert both.differences() == {}
        check_what_was_compared(both)
        check_durations(both)
        check_own_sessions(both)
        if major >= 18:
            assert types(both.ours).keys() == documented()


def check_what_was_compared(both):
    """The crowd was there, and nothing of ours but what is documented has another type."""
    names = [key[0] for key in compared(both.ours)]
    counts = {k: v for k, v in compared(both.ours).items() if k[0] == COUNT and v}
    assert sum(counts.values()) == 3 + 2 + 1 + 2 + 3 + 1 + 1, counts
    states = {dict(key[1:])["state"] for key in counts}
    assert states == {"active", "idle", "idle in transaction", "idle in transaction (aborted)"}
    kinds = {dict(key[1:])["backend_type"] for key in counts}
    assert kinds == {"client backend", "parallel worker", "walsender"}
    assert names.count("pg_stat_database_numbackends") == 5
    assert len([name for name in names if name.startswith("pg_settings_")]) >= 16
    ours, theirs = types(both.ours), types(both.theirs)
    different = {name: kind for name, kind in ours.items() if theirs[name] != kind}
    assert different == {"pg_stat_database_tup_fetched": "untyped"}


def check_durations(both):
    """Ages grow: the peer's lies between ours of the polls before and after it."""
    before, between, after = (
        durations(compared(text)) for text in (both.ours, both.theirs, both.later)
    )
    running = {key for key, value in between.items() if value}
    # The holder of the lock, its waiter, the sleeper, the parallel leader and its worker.
    assert len(running) == 5
    for key in running:
        assert before[key] <= between[key] <= after[key]
    assert {key for key, value in before.items() if value} == running


def check_own_sessions(both):
    def roles(text):
        return {
            sample.labels["usename"]
            for sample in samples(text)
            if sample.name == COUNT and sample.value and sample.labels["datname"] == "postgres"
        }

    assert roles(both.ours) == {"peer"}
    assert "pgheadroom" in roles(both.theirs)


@pytest.mark.parametrize("compatibility", [True, False])
def test_promtool_finds_fault_with_the_peers_names_alone(tmp_path, start_postgres, compatibility):
    promtool = debian_program("promtool")
    server = prepare(start_postgres(18))
    watch = watching(tmp_path, [watched(server)], metrics={"compatibility": compatibility})
    with watch.running():
        watch.wait_for("a poll", lambda seen: seen.up())
        text = get(f"http://{watch.address}/metrics")
    assert text is not None
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    faults = (done.stdout + done.stderr).splitlines()
    if compatibility:
        assert {line.split()[0] for line in faults} == {COUNT, "pg_settings_tcp_keepalives_count"}
    else:
        assert (done.returncode, faults) == (0, [])
        assert "pg_" not in text
