import base64
import json
import socket

import pytest
from click.testing import CliRunner

from exporter.cli import main
from exporter.healthcheck import trouble
from exporter.remote import RefusedError, Remote
from tests.support.receivers import Answer, HttpReceiver

READY = Answer(body="ready\n")
WAITING = Answer(503, "not yet polled: prod\n")


def holders(**up):
    found = [{"server": name, "up": ok, "failure": "auth: wrong"} for name, ok in up.items()]
    return Answer(body=json.dumps({"status": "success", "data": {"servers": found}}))


def test_it_is_ready():
    with HttpReceiver(READY) as server:
        assert trouble(Remote(server.url), 0) == ""
    assert [request.path for request in server.requests] == ["/readyz"]


def test_what_it_waits_for_is_said():
    with HttpReceiver(WAITING) as server:
        said = trouble(Remote(f"{server.url}/"), 0)
    assert said == f"{server.url}/readyz answers 503: not yet polled: prod"


def test_it_asks_again_while_there_is_time():
    with HttpReceiver(WAITING, READY) as server:
        assert trouble(Remote(server.url), 30) == ""
    assert len(server.requests) == 2


def test_a_server_that_is_not_seen_is_named():
    with HttpReceiver(READY, holders(prod=True, shop=False)) as server:
        assert trouble(Remote(server.url), 0, servers=True) == "shop is not seen: auth: wrong"


def test_every_server_is_seen():
    with HttpReceiver(READY, holders(prod=True)) as server:
        assert trouble(Remote(server.url), 0, servers=True) == ""


def test_another_program_answers():
    with HttpReceiver(READY, Answer(body="[]")) as server:
        assert "not as pgheadroom does" in trouble(Remote(server.url), 0, servers=True)


def test_nobody_answers():
    with HttpReceiver() as server:
        url = server.url
    assert trouble(Remote(url), 0).startswith(f"{url} does not answer: ")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_said_and_the_log_in_stays_here(status):
    with HttpReceiver() as elsewhere:
        away = Answer(status, headers={"Location": f"{elsewhere.url}/readyz"})
        with HttpReceiver(otherwise=away) as server:
            remote = Remote(server.url, "ann", "hunter2")
            said = trouble(remote, 0)
            with pytest.raises(RefusedError, match="sends elsewhere"):
                remote.ask("POST", "/api/v1/silences", {})
        assert elsewhere.requests == []
    assert said == (
        f"{server.url}/readyz sends elsewhere, to {elsewhere.url}/readyz;"
        " give the right address as --url"
    )


def test_other_addresses_than_http_are_refused():
    assert "begins with http://" in trouble(Remote("file:///etc/passwd"), 0)


def test_the_command_says_it_and_fails():
    with HttpReceiver(WAITING, READY) as server:
        first = CliRunner().invoke(main, ["healthcheck", "--url", server.url])
        second = CliRunner().invoke(main, ["healthcheck", "--url", server.url])
    assert (first.exit_code, second.exit_code, second.output) == (1, 0, "ready\n")
    assert "not yet polled: prod" in first.output


def test_it_logs_in_where_that_is_asked_for(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    with HttpReceiver(READY, holders(prod=True)) as server:
        where = ["--url", server.url, "--user", "ann", "--password-file", str(secret)]
        done = CliRunner().invoke(main, ["healthcheck", "--servers", *where])
    assert (done.exit_code, done.output) == (0, "every server is seen\n")
    assert {request.headers["Authorization"] for request in server.requests} == {
        "Basic " + base64.b64encode(b"ann:hunter2").decode()
    }


@pytest.mark.parametrize("data", [{"other": 1}, [], {"servers": [{"server": "x"}]}])
def test_what_is_no_list_of_servers_is_not_pgheadrooms(data):
    with HttpReceiver(READY, Answer(body=json.dumps({"data": data}))) as server:
        assert "not as pgheadroom does" in trouble(Remote(server.url), 0, servers=True)


def test_an_answer_that_does_not_come_is_not_waited_for_for_long():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = trouble(Remote(url, timeout=0.1), 0)
    assert said == f"{url} does not answer: timed out"


def test_nobody_is_asked_for_a_password():
    with HttpReceiver(READY) as server:
        environment = {"PGHEADROOM_USER": "ops", "PGHEADROOM_URL": "http://127.0.0.1:1"}
        words = ["healthcheck", "--url", server.url]
        done = CliRunner(env=environment).invoke(main, words)
    assert (done.exit_code, done.output) == (0, "ready\n")


def test_its_address_is_not_that_of_the_silences():
    done = CliRunner(env={"PGHEADROOM_URL": "http://elsewhere"}).invoke(main, ["healthcheck"])
    assert "elsewhere" not in done.output


def test_a_command_that_may_have_been_meant_is_named():
    done = CliRunner().invoke(main, ["heathcheck"])
    assert done.exit_code == 2
    assert "Did you mean 'healthcheck'?" in done.output


@pytest.mark.parametrize("seconds", ["nan", "inf"])
def test_it_does_not_wait_for_ever(seconds):
    done = CliRunner().invoke(
        main, ["healthcheck", "--wait", seconds, "--url", "http://127.0.0.1:1"]
    )
    assert done.exit_code == 2
    assert f"{seconds} is no number to count with" in done.output
