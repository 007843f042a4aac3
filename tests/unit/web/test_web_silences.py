"""Log-in and silences of the pages, without a process around them."""

import asyncio
import base64
import json
import logging
import time

import bcrypt
import pytest
from starlette.testclient import TestClient

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert, AlertState
from exporter.alerting.board import Board, Entry
from exporter.poll.quiet import Quiet
from exporter.poll.silencing import SILENCES, Silencing
from exporter.web.login import MOST_WAITING, Login
from exporter.web.page import html
from exporter.web.port import Port
from exporter.web.server import application
from tests.support.states import group, state

RIGHT = ("ann", "s3cret")
USERS = {"ann": bcrypt.hashpw(b"s3cret", bcrypt.gensalt(4)).decode()}
ASKED = {"matchers": ['server="prod"'], "author": "ci", "comment": "deploy", "duration": "30m"}
JSON = {"content-type": "application/json"}
FROM_TO = {key: value for key, value in ASKED.items() if key != "duration"}
MUTED = Alert("High", {"alertname": "High", "server": "prod", "severity": "warning"},
              AlertState.FIRING, 990.0, 995.0, 0.9, muted_by="silence 1f09")  # fmt: skip


class Journal:
    def __init__(self, kept=None):
        self.kept = dict(kept or {})
        self.order = []
        self.error = ""

    async def commit(self, states, _notifications):
        self.kept |= states
        self.order.append("kept")
        return self.error

    def save_soon(self, key, text):
        self.kept[key] = text

    def load(self, key):
        return self.kept.get(key)


class Site:
    def __init__(self, users=None, journal=None):
        self.now = 1000.0
        self.journal = journal or Journal()
        self.quiet = Quiet(lambda: self.now)
        self.silencing = Silencing(
            self.quiet, self.journal, lambda: self.journal.order.append("changed")
        )
        board = Board()
        board.put(Entry(state(group(3)), book=Book({"x": MUTED})))
        self.port = Port(
            board=board,
            clock=lambda: self.now,
            alive=lambda: True,
            own_families=tuple,
            own_book=Book,
            deliveries=tuple,
            version="1.2.3",
            silencer=self.silencing,
        )
        self.login = Login(USERS if users is None else users)
        self.client = TestClient(application(self.port, self.login))

    def add(self, **changes):
        return self.client.post("/api/v1/silences", json=ASKED | changes, auth=RIGHT)


def test_a_silence_is_on_disk_before_it_is_confirmed_and_known_after_a_restart():
    site = Site()
    answer = site.add()
    assert answer.status_code == 201
    made = answer.json()["data"]
    assert made["state"] == "active"
    assert made["ends_at"] == "1970-01-01T00:46:40+00:00"
    assert site.journal.order == ["kept", "changed"]
    again = Site(journal=site.journal)
    listed = again.client.get("/api/v1/silences", auth=RIGHT).json()["data"]["silences"]
    assert listed == [made]
    assert again.quiet.silences == site.quiet.silences
    assert again.silencing.active == 1
    again.now += 1800
    assert again.silencing.active == 0


def test_a_silence_that_is_not_on_disk_holds_and_is_confirmed_with_a_warning():
    site = Site()
    site.journal.error = "database or disk is full"
    answers = [site.add()]
    assert site.silencing.active == 1
    path = f"/api/v1/silences/{answers[0].json()['data']['id']}"
    answers.append(site.client.delete(path, auth=RIGHT))
    assert site.silencing.active == 0
    assert [answer.status_code for answer in answers] == [201, 200]
    for answer in answers:
        (warning,) = answer.json()["warnings"]
        assert warning.startswith("a restart now would forget it")
        assert "disk is full" in warning
    site.journal.error = ""
    assert "warnings" not in site.add().json()


def test_a_silence_is_expired_once():
    site = Site()
    path = f"/api/v1/silences/{site.add().json()['data']['id']}"
    site.now += 5
    for _ in range(2):
        answer = site.client.delete(path, auth=RIGHT)
        assert answer.json()["data"]["state"] == "expired"
        assert answer.json()["data"]["ends_at"] == "1970-01-01T00:16:45+00:00"
    assert site.journal.order.count("changed") == 2
    assert site.client.delete("/api/v1/silences/nix", auth=RIGHT).status_code == 404


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"json": ASKED | {"comment": ""}}, 400, "comment"),
        ({"json": []}, 400, ""),
        ({"content": b"{", "headers": JSON}, 400, "not JSON"),
        ({"data": {"matchers": "x"}}, 415, "application/json"),
        ({"json": ASKED | {"comment": "x" * 70_000}}, 413, "bytes"),
        (
            {"json": ASKED | {"matchers": [{"label": "a.b", "operator": "=", "value": "x"}]}},
            400,
            "as text",
        ),
        ({"json": ASKED | {"duration": 1e300}}, 400, "within ten years"),
        (
            {"content": json.dumps(ASKED | {"duration": float("inf")}).encode(), "headers": JSON},
            400,
            "ten years",
        ),
        ({"content": b"[" * 60_000, "headers": JSON}, 400, "nested"),
        ({"content": b"[\xff]", "headers": JSON}, 400, "not JSON"),
        ({"json": ASKED | {"duration": "999999w"}}, 400, "within ten years"),
        ({"json": ASKED | {"duration": "9" * 400 + "w"}}, 400, "within ten years"),
        ({"json": ASKED | {"duration": 10**400}}, 400, "too large for a duration"),
        ({"json": FROM_TO | {"ends_at": "9999-12-31T23:59:59-12:00"}}, 400, "within ten years"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(request_, status, said):
    site = Site()
    answer = site.client.post("/api/v1/silences", auth=RIGHT, **request_)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert site.quiet.silences == ()


def test_kept_silences_that_cannot_be_read_are_said_and_left(caplog):
    site = Site(journal=Journal({SILENCES: "{"}))
    assert site.quiet.silences == ()
    assert "kept silence not understood" in caplog.text


@pytest.mark.parametrize(
    ("starts_at", "ends_at", "shown"),
    [
        (0.0, 6.1e11, "9999-12-31T23:59:59+00:00"),
        (-6.2135614800e10, float("inf"), "9999-12-31T23:59:59+00:00"),
    ],
)
def test_a_kept_silence_without_an_end_is_shown_and_can_be_expired(starts_at, ends_at, shown):
    asked = FROM_TO | {"id": "1f09", "starts_at": starts_at, "ends_at": ends_at}
    site = Site(journal=Journal({SILENCES: json.dumps([asked])}))
    (listed,) = site.client.get("/api/v1/silences", auth=RIGHT).json()["data"]["silences"]
    assert (listed["state"], listed["ends_at"]) == ("active", shown)
    assert "1f09" in html(site.port)
    answer = site.client.delete("/api/v1/silences/1f09", auth=RIGHT)
    assert answer.json()["data"]["state"] == "expired"


def test_a_silence_from_before_every_date_can_be_had():
    answer = Site().add(starts_at="0001-01-01T00:00:00+05:00", ends_at=2000, duration=None)
    assert answer.status_code == 201
    assert answer.json()["data"]["starts_at"] == "0001-01-01T00:00:00+00:00"


def test_what_mutes_an_alert_is_shown():
    site = Site()
    (alert,) = site.client.get("/api/v1/alerts", auth=RIGHT).json()["data"]["alerts"]
    assert alert["mutedBy"] == "silence 1f09"
    site.add(comment="<script>")
    page = html(site.port)
    assert "firing, silence 1f09" in page
    assert "server=&quot;prod&quot;" in page
    assert "<script>" not in page
    site.now += 1800
    assert "Silences</h2>" not in html(site.port)


@pytest.mark.parametrize(
    "auth", [None, ("ann", "wrong"), ("bob", "s3cret"), ("ann", "x" * 100), ("", "")]
)
def test_everything_but_health_asks_for_the_log_in(auth):
    site = Site()
    for path in ("/", "/metrics", "/probe", "/api/v1/alerts", "/api/v1/holders", "/healthz/x"):
        answer = site.client.get(path, auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
    assert site.client.get("/healthz", auth=auth).status_code == 200
    assert site.client.get("/readyz", auth=auth).status_code != 401


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic YW5u", "Bearer YW5uOnMzY3JldA==", "Basic w6Q6/w=="]
)
def test_a_header_that_is_no_log_in_is_refused(header):
    client = Site().client
    assert client.get("/metrics", headers={"authorization": header}).status_code == 401


def test_a_wrong_log_in_takes_as_long_whatever_name_it_tries():
    dear = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(10)).decode()
    login = Login({**USERS, "dora": dear})

    async def seconds(name):
        header = "Basic " + base64.b64encode(f"{name}:wrong".encode()).decode()
        began = time.process_time()
        refused = await login.refusal(header, "10.0.0.9")
        assert refused is not None
        assert refused.status_code == 401
        return time.process_time() - began

    # The costs are 4 and 10: left alone, a wrong password of Dora takes 64 times as long as Ann's.
    taken = [asyncio.run(seconds(name)) for name in ("ann", "dora", "nobody")]
    assert max(taken) < 4 * min(taken)


def test_users_that_are_taken_away_are_not_remembered():
    site = Site()
    assert site.client.get("/metrics", auth=RIGHT).status_code == 200
    site.login.follow({"bob": USERS["ann"]})
    assert site.client.get("/metrics", auth=RIGHT).status_code == 401
    assert site.client.get("/metrics", auth=("bob", "s3cret")).status_code == 200
    site.login.follow({})
    assert site.client.get("/metrics").status_code == 200
    assert site.add().status_code == 403


def test_who_guesses_is_logged_once_a_minute_and_does_not_pile_up(caplog):
    async def guess():
        login = Login(USERS)
        header = "Basic YW5uOndyb25n"
        answers = await asyncio.gather(*(login.refusal(header, "10.0.0.9") for _ in range(40)))
        assert await login.refusal("Basic YW5uOnMzY3JldA==", "") is None
        return [answer.status_code for answer in answers if answer is not None]

    with caplog.at_level(logging.WARNING):
        codes = asyncio.run(guess())
    assert codes.count(401) == MOST_WAITING
    assert codes.count(503) == 40 - MOST_WAITING
    assert [record.message for record in caplog.records] == ["log-in refused"]
    assert "wrong" not in caplog.text
