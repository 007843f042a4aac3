import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.board import Board, Entry
from exporter.metrics.server import server_families
from exporter.metrics.view import Caps
from exporter.snapshot.blockers import Blocker
from exporter.web.page import html
from exporter.web.port import DeadRow, DeliveryRow, Port
from exporter.web.server import application
from tests.support.states import failure, group, snapshot, state

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ALERT = Alert("High", {"alertname": "High", "server": "prod", "severity": "critical"},
              AlertState.FIRING, 990.0, 995.0, 0.9, {"summary": "prod: 90 %"})  # fmt: skip


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def site(*states, alive=True, book=None):
    clock, board = Clock(), Board()
    for each in states:
        board.put(Entry(each))
        board.put(Entry(each, server_families(each, Caps(), clock.now), book or Book()))
    port = Port(
        board=board,
        clock=clock,
        alive=lambda: alive,
        own_families=tuple,
        own_book=Book,
        deliveries=lambda: [DeliveryRow("slack", 3, 0, 0)],
        version="1.2.3",
    )
    return port, TestClient(application(port)), clock


def test_the_page_says_what_is_wrong_with_the_state():
    port, _, _ = site(state(group(1)))
    assert "State:" not in html(port)
    assert "State: disk &lt;full&gt;" in html(replace(port, state_trouble=lambda: "disk <full>"))


def test_what_no_receiver_took_is_read_on_the_page():
    port, _, _ = site(state(group(1)))
    assert "Given up" not in html(port)
    dead = DeadRow("sl<ck", 940.0, "CRITICAL prod: <b>97</b>/97 slots", "gone")
    text = html(replace(port, dead=lambda: [dead]))
    cells = (
        "<td>1 min ago</td><td>sl&lt;ck</td><td>CRITICAL prod: &lt;b&gt;97&lt;/b&gt;/97 slots</td>"
    )
    assert f"{cells}<td>gone</td>" in text


def test_a_role_with_many_names_is_on_the_page_and_in_the_api():
    port, client, _ = site(state(*(group(1, f"fn-{n}", usename="<app>") for n in range(9))))
    assert "&lt;app&gt; on shop holds 9 under 9 names" in html(port)
    (found,) = client.get("/api/v1/holders").json()["data"]["servers"]
    assert found["top_role"] == {"usename": "<app>", "datname": "shop", "used": 9, "names": 9}


def test_the_gravest_alert_stands_first_and_among_equals_the_rule_that_does():
    late = replace(ALERT, rule="Late", active_at=ALERT.active_at + 60)
    soon = replace(ALERT, rule="Soon", state=AlertState.PENDING)
    mild = replace(ALERT, rule="Mild", labels={**ALERT.labels, "severity": "warning"})
    alerts = {each.rule: each for each in (mild, soon, late, ALERT)}
    port, _, _ = site(state(group(90)), book=Book(alerts))
    assert re.findall("<td>(Late|High|Soon|Mild)</td>", html(port)) == [
        "Late", "High", "Soon", "Mild"
    ]  # fmt: skip


def test_metrics_are_what_the_last_turn_stored_and_only_the_ages_move():
    port, client, clock = site(state(group(90)), book=Book({"x": ALERT}))
    first = client.get("/metrics")
    assert first.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'pgheadroom_connections_used{server="prod"} 90.0' in first.text
    assert 'pgheadroom_snapshot_age_seconds{server="prod"} 0.0' in first.text
    assert 'pgheadroom_alerts{alertname="High",alertstate="firing"' in first.text
    clock.now += 7
    later = client.get("/metrics").text
    assert 'pgheadroom_snapshot_age_seconds{server="prod"} 7.0' in later
    port.board.put(Entry(state(group(91)), server_families(state(group(91)), Caps(), 1.0)))
    assert 'pgheadroom_connections_used{server="prod"} 91.0' in client.get("/metrics").text


def test_each_family_is_described_once():
    _, client, _ = site(state(group(1), server="a"), state(group(2), server="b"))
    text = client.get("/metrics").text
    helps = re.findall(r"^# HELP (\S+)", text, re.MULTILINE)
    assert len(helps) == len(set(helps))
    assert list(text_string_to_metric_families(text))


def test_liveness_never_depends_on_a_server():
    _, client, _ = site(state(snapshot=None, failure=failure()))
    assert client.get("/healthz").status_code == 200
    _, client, _ = site(alive=False)
    assert client.get("/healthz").status_code == 503


def test_ready_means_that_every_server_was_tried():
    port, client, _ = site()
    port.board.put(Entry(state(snapshot=None)))
    assert client.get("/readyz").status_code == 503
    port.board.put(Entry(state(snapshot=None, failure=failure())))
    assert client.get("/readyz").status_code == 200


def test_alerts_have_prometheus_form():
    _, client, _ = site(state(group(90)), book=Book({"x": ALERT}))
    answer = client.get("/api/v1/alerts").json()
    assert answer["status"] == "success"
    assert answer["data"]["alerts"] == [
        {
            "labels": {"alertname": "High", "server": "prod", "severity": "critical"},
            "annotations": {"summary": "prod: 90 %"},
            "state": "firing",
            "activeAt": "1970-01-01T00:16:30+00:00",
            "value": "0.9",
        }
    ]


def test_holders_of_one_server_or_of_all():
    _, client, _ = site(state(group(60, "checkout"), group(3, "web")), state(server="other"))
    (first, _) = client.get("/api/v1/holders").json()["data"]["servers"]
    assert [(h["application_name"], h["used"]) for h in first["holders"]] == [
        ("checkout", 60),
        ("web", 3),
    ]
    one = client.get("/api/v1/holders", params={"server": "other"}).json()["data"]["servers"]
    assert [each["server"] for each in one] == ["other"]
    unknown = client.get("/api/v1/holders", params={"server": "nix"})
    assert unknown.status_code == 404
    assert unknown.json()["error"] == "no server is named 'nix'; there are: prod, other"


@given(NAMES, NAMES)
def test_the_page_shows_any_name_as_text(name, server):
    evil = f"{name}<script>alert(1)</script>"
    port, _, _ = site(state(group(5, evil), server=server + "<img src=x onerror=1>"))
    text = html(port)
    assert "<script" not in text
    assert "<img" not in text


def test_the_page_says_how_things_stand():
    port, client, _ = site(state(group(90, "checkout")), book=Book({"x": ALERT}))
    text = client.get("/").text
    for words in ("90 of 97 usable slots, 93 %", "checkout", "critical", "prod: 90 %", "slack"):
        assert words in text
    blind = state(group(90), failure=failure(), server="gone")
    port.board.put(Entry(blind))
    assert "connection refused. check the port" in html(port)


def blocked(name="checkout"):
    shot = snapshot(group(3, state="active", wait_event_type="Lock"))
    blocker = Blocker(4711, "app", name, "shop", "10.0.0.7", "idle in transaction", 50.0, 42.0, 12)
    second = Blocker(12, "app", name, "shop", "10.0.0.8", "active", 5.0, 4.0, 3, root=False)
    return state(snapshot=replace(shot, blockers=(blocker, second)))


def test_who_blocks_others_is_on_the_page_and_in_the_answer():
    port, client, _ = site(blocked())
    page = html(port)
    assert '<th class="n">blocked by pid</th>' in page
    assert '<td class="n">4711</td><td>checkout</td><td>app</td><td>shop</td>' in page
    assert '<td>idle in transaction</td><td>42 s</td><td class="n">12</td>' in page
    # Whoever waits itself is not the one to ask.
    (found,) = client.get("/api/v1/holders").json()["data"]["servers"]
    assert [(each["pid"], each["blocked"]) for each in found["blockers"]] == [(4711, 12)]
    assert "blocked by pid" not in html(site(state(group(1)))[0])


@given(NAMES)
def test_no_name_of_a_blocker_is_markup(name):
    page = html(site(blocked(f"<b>{name}"))[0])
    assert "<b>" not in page
