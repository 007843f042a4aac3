"""Every expression of every panel, on a real Prometheus that scrapes a real pgheadroom.

It watches a Postgres and a PgBouncer, calm and then exhausted, and one of each that is not there.
"""

import contextlib
import math
import time
from dataclasses import dataclass

import pytest

from exporter.demo.postgres import EmbeddedPostgres, free_port
from tests.support.dashboards import EVERYTHING, NAMES, asked, load, panels, variables
from tests.support.debian import MissingError
from tests.support.pages import ROOT
from tests.support.parts import needing
from tests.support.peers import Prometheus, prometheus
from tests.support.pgbouncer import PgBouncer, leads_to
from tests.support.postgres import frozen_server, sessions
from tests.support.receivers import HttpReceiver, eventually
from tests.support.watching import pagerduty, prepare, watched, watching

MAX, USABLE = 30, 27
SHARE = "headroom: Who holds the slots B"
JOB = "pgheadroom"
#: A ramp of seconds is to be forecast, in every window.
WINDOW = {"window": "3s", "horizon": "20m", "hits": 1, "lookback": "1s", "step": 0}
FORECAST = {
    "page": WINDOW,
    "warning": WINDOW,
    "leak": WINDOW,
    "min_r_squared": 0.1,
    "min_used_ratio": 0.1,
    "breakout_slots": 1,
    "breakout_ratio": 0.01,
}
#: What shows nothing while nothing is wrong; everything else has series all the time.
QUIET = {
    "Who grew A",
    "Who holds the slots D",
    "Who holds the slots E",
    "Who is idle in transaction A",
    "Backends that wait in a statement A",
    "What active backends do A",
    "Why clients wait A",
    "Who is behind the poolers B",
    "Paused A",
    "annotation Firing: critical",
    "annotation Firing: warning",
}
#: Of a server that answers all the time.
QUIET_IN_HEADROOM = {"Failed polls by reason A"}
#: It takes a standby, and a server that was seen 2 minutes before.
ROLE_CHANGES = "annotation Role changes"


@dataclass
class Phase:
    """A span of time in which Prometheus scraped."""

    found: Prometheus
    start: float
    end: float
    window: str

    def series(self, each):
        """What an expression gives, over the time or at its end as its panel asks."""
        values = EVERYTHING | {"window": self.window}
        if each.dashboard == "headroom":
            values["server"] = "db"
        if each.instant:
            return self.found.query(each.filled(values), at=self.end)
        # Whole steps back from the end, so that what was seen last is among them.
        start = self.end - math.floor(self.end - self.start)
        return self.found.query_range(each.filled(values), start, self.end, step=1)


def pgbouncer(server):
    databases = {
        "app": leads_to(server, pool_size=2, max_db_connections=2),
        "other": leads_to(server, pool_size=1),
    }
    with needing(MissingError):
        return PgBouncer("bookworm", databases, {"max_client_conn": 50})


def poolers(bouncer):
    probe = {"credentials": {"dsn": bouncer.dsn("other", "postgres")}}
    gone = f"host=127.0.0.1 port={free_port()} user=stats dbname=pgbouncer"
    return [
        {"name": "pgb", "server": "db", "dsn": bouncer.dsn(), "clients": True, "probe": probe},
        {"name": "lost", "dsn": gone},
    ]


def scraping(address):
    rules = sorted(str(file) for file in (ROOT / "alerts").glob("*.rules.yaml"))
    often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    # Twice, as two pgheadrooms would be: nothing may be counted twice.
    targets = [address, address.replace("127.0.0.1", "localhost")]
    job = {"job_name": JOB, "static_configs": [{"targets": targets}]}
    return {"global": often, "rule_files": rules, "scrape_configs": [job]}


@contextlib.contextmanager
def calm(server, bouncer):
    """Three clients of an application, and one of the pooler."""
    with (
        sessions(server, 3, user="app", dbname="shop", application_name="web"),
        bouncer.clients(1, "app", "app", "checkout") as (client,),
    ):
        client.execute("select 1")
        yield


def fill(watch, server, stack):
    """A ramp until no slot is left, each step after the last one was seen."""

    def clients(number, application_name):
        names = {"dbname": "shop", "application_name": application_name}
        return stack.enter_context(sessions(server, number, **names))

    (holder, blocked, silent) = clients(3, "batch")
    holder.execute("create table stock ()")
    holder.execute("begin; lock table stock in access exclusive mode")
    blocked.pgconn.send_query(b"select * from stock")
    silent.execute("begin")
    seen = watch.wait_for("the lock", lambda s: s.one("pgheadroom_blocked_backends", server="db"))
    launched = 0
    while seen.one("pgheadroom_connections_free", server="db"):
        clients(1, "launch")
        launched += 1
        seen = watch.wait_for("one more", lambda s, n=launched: held(s, "launch") == n)
    # What took the last slot may have been the connect probe.
    clients(1, "launch")


def held(samples, application_name):
    labels = {"server": "db", "application_name": application_name}
    return sum(samples.all("pgheadroom_connections", **labels))


@contextlib.contextmanager
def queue(bouncer):
    """A pool of which every connection is in use and one more client waits; another one paused."""
    with bouncer.clients(3, "app", "app", "checkout") as (one, two, three):
        one.execute("begin")
        two.execute("begin")
        three.pgconn.send_query(b"select 1")
        bouncer.console("PAUSE other")
        try:
            yield
        finally:
            three.close()


@pytest.fixture(scope="module")
def phases(tmp_path_factory):
    """Both phases, asked about after the fact."""
    folder = tmp_path_factory.mktemp("dashboards")
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        server = prepare(enter(EmbeddedPostgres(16, {"max_connections": MAX})))
        server.psql("create database shop connection limit 40; alter role app connection limit 20")
        bouncer = enter(pgbouncer(server))
        receiver = enter(HttpReceiver())
        probe = {"credentials": {"dsn": server.dsn(user="app")}}
        gone = {"name": "gone", "dsn": f"postgresql://pgheadroom@127.0.0.1:{free_port()}/postgres"}
        watch = watching(
            folder,
            [watched(server, probe=probe), gone],
            [pagerduty(receiver)],
            poolers=poolers(bouncer),
            forecast=FORECAST,
        )
        enter(watch.running())
        found = enter(prometheus(folder, scraping(watch.address)))
        enter(calm(server, bouncer))
        start = time.time()
        settled(found)
        before = time.time()
        enter(queue(bouncer))
        fill(watch, server, stack)
        with frozen_server(server):
            watch.wait_for("a late poll", lambda s: not s.up())
        exhausted(found)
        after = time.time()
        grown = f"{math.ceil(after - before) + 1}s"
        yield {
            "calm": Phase(found, start, before, "3s"),
            "exhausted": Phase(found, before, after, grown),
        }


def settled(found):
    """Every counter was scraped for a while, and the pooler's clients have been served."""
    for expr in (
        'pgheadroom_up{server="db"} offset 4s == 1',
        'rate(pgheadroom_sessions_total{server="db"}[5s])',
        'pgheadroom_connect_probe_success{pooler="pgb"} == 1',
        'pgheadroom_pool_wait_per_transaction_seconds{pooler="pgb"}',
        'pgheadroom_pool_clients{application_name="checkout"}',
    ):
        saw(found, expr)


def exhausted(found):
    """Prometheus saw what hurts, and both engines fire."""
    for expr in (
        'pgheadroom_up{server="db"} == 1',
        'pgheadroom_connections_free{server="db"} == 0',
        'pgheadroom_connect_probe_success{via="direct", reason="refused"} == 0',
        "pgheadroom_pool_clients_waiting > 0",
        "pgheadroom_pool_paused == 1",
        "pgheadroom_idle_in_transaction > 0",
        "pgheadroom_blocked_backends > 0",
        'ALERTS{alertname="PostgresConnectionsExhausted", alertstate="firing"}',
        'pgheadroom_alerts{alertname="PoolerPaused", alertstate="firing"}',
        'increase(pgheadroom_poll_failures_total{server="db"}[5s]) > 0',
    ):
        saw(found, expr)


def saw(found, expr):
    eventually(lambda: bool(found.query(expr)), expr, 30)


EXPRESSIONS = {f"{each.dashboard}: {each.where}": each for name in NAMES for each in asked(name)}
each_expression = pytest.mark.parametrize("each", EXPRESSIONS.values(), ids=EXPRESSIONS)


@each_expression
def test_it_has_series_on_an_exhausted_server(phases, each):
    found = phases["exhausted"].series(each)
    assert bool(found) == (each.where != ROLE_CHANGES)


@each_expression
def test_it_has_series_on_a_calm_server_unless_it_shows_what_is_wrong(phases, each):
    found = phases["calm"].series(each)
    quiet = QUIET | (QUIET_IN_HEADROOM if each.dashboard == "headroom" else set())
    if each.where not in quiet | {ROLE_CHANGES}:
        assert found


@pytest.mark.parametrize(
    "key", [f"{n}: {p['title']}" for n in NAMES for p in panels(load(n)) if p["type"] == "table"]
)
def test_the_columns_of_a_table_have_the_same_labels_so_that_its_rows_are_joined(phases, key):
    name, _, title = key.partition(": ")
    (panel,) = (each for each in panels(load(name)) if each["title"] == title)
    (organize,) = (t["options"] for t in panel["transformations"] if t["id"] == "organize")
    labels = {label for label in organize["renameByName"] if not label.startswith("Value")}
    for target in panel["targets"]:
        for found, _ in rows(phases, "exhausted", f"{key} {target['refId']}"):
            # An alert about pgheadroom itself is of no server.
            assert set(found) | {"server"} == labels | {"server"}


@pytest.mark.parametrize("name", NAMES)
def test_the_variables_have_values(phases, name):
    wanted = {"job": [JOB], "server": ["db", "gone"], "pooler": ["lost", "pgb"]}
    wanted["server"] = ["db", "lost"] if name == "poolers" else wanted["server"]
    for each in variables(load(name)).values():
        if each["type"] == "query":
            query = each["query"]["query"].removeprefix("label_values(").removesuffix(")")
            selector, _, label = query.rpartition(", ")
            for variable, value in EVERYTHING.items():
                selector = selector.replace(f"${variable}", value)
            assert phases["calm"].found.label_values(label, selector) == wanted[label]


def rows(phases, name, where):
    """(labels, value) of each series of an instant expression."""
    found = phases[name].series(EXPRESSIONS[where])
    return [(each["metric"], float(each["value"][1])) for each in found]


def test_the_first_row_names_the_worst_server_and_who_is_not_seen(phases):
    ((worst, ratio),) = rows(phases, "exhausted", "fleet: Worst server A")
    assert worst["server"] == "db"
    assert ratio >= 1
    ((fewest, left),) = rows(phases, "exhausted", "fleet: Fewest slots left A")
    assert (fewest["server"], left) == ("db", 0)
    ((_, blind),) = rows(phases, "exhausted", "fleet: Blind A")
    assert blind == 1
    ((_, waiting),) = rows(phases, "exhausted", "fleet: Pooler clients waiting A")
    assert waiting >= 1


def test_how_soon_is_never_when_calm_a_forecast_on_the_ramp_and_now_when_none_is_left(phases):
    soonest = EXPRESSIONS["fleet: Soonest to run out A"].filled(EVERYTHING)
    ramp = phases["exhausted"]
    found = ramp.found.query_range(soonest, ramp.start, ramp.end, step=0.5)
    values = [float(value) for each in found for _, value in each["values"]]
    assert any(0 <= value < 1200 for value in values)
    ((_, never),) = rows(phases, "calm", "fleet: Soonest to run out A")
    assert never > 1e9
    ((_, now),) = rows(phases, "exhausted", "fleet: Soonest to run out A")
    assert now == 0


def test_the_level_is_that_of_the_servers_own_thresholds(phases):
    for name, level in (("calm", 0), ("exhausted", 2)):
        levels = {m["server"]: value for m, value in rows(phases, name, "fleet: Servers A")}
        assert levels["db"] == level


def test_a_server_that_was_never_seen_is_said_to_be_that_and_not_to_be_well(phases):
    seen = {m["server"]: value for m, value in rows(phases, "exhausted", "fleet: Servers B")}
    assert seen == {"db": 1, "gone": 0}
    soonest = {m["server"] for m, _ in rows(phases, "exhausted", "fleet: Servers H")}
    assert soonest == {"db"}


def test_alerts_come_with_their_runbook_from_either_engine(phases):
    found = [labels for labels, _ in rows(phases, "exhausted", "fleet: Why you were paged A")]
    books = {each["alertname"]: each["runbook"] for each in found}
    assert books["PostgresConnectionsExhausted"] == "nobody-can-log-in.md"
    assert books["PoolerPaused"] == "pooler-paused.md"
    assert len({(each["alertname"], each.get("server")) for each in found}) == len(found)


def test_who_holds_the_slots_and_who_grew(phases):
    held = rows(phases, "exhausted", "headroom: Who holds the slots A")
    first, slots = max(held, key=lambda row: row[1])
    assert first["application_name"] == "launch"
    shares = {m["application_name"]: v for m, v in rows(phases, "exhausted", SHARE)}
    assert shares["launch"] == pytest.approx(slots / USABLE)
    (most, *_) = rows(phases, "exhausted", "headroom: Who grew A")
    assert most[0]["application_name"] == "launch"
    assert most[1] == slots


def test_nothing_is_counted_twice_where_two_watch_one_server(phases):
    at = phases["exhausted"]
    states = EXPRESSIONS["headroom: Slots by state A"].filled(EVERYTHING | {"server": "db"})
    ((_, used),) = rows(phases, "exhausted", "headroom: Used A")
    total = at.found.query(f"sum({states})", at=at.end)
    assert float(total[0]["value"][1]) == pytest.approx(used * USABLE)


def test_work_without_a_wait_event_has_a_name(phases):
    found = phases["exhausted"].series(EXPRESSIONS["headroom: What active backends do A"])
    assert {each["metric"]["wait_event"] for each in found} >= {"on the processor", "relation"}


def test_every_reason_why_a_pool_waits_is_named(phases):
    found = [labels for labels, _ in rows(phases, "exhausted", "poolers: Why clients wait A")]
    assert {each["why"] for each in found if each["database"] == "app"} == {
        "the pool is full",
        "limit of the database",
        "the server has no slot",
    }
