from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.errors import ConfigError
from exporter.config.load import load
from exporter.config.model import Config
from exporter.reload import read_config

SECRET = "s3cr3t-do-not-tell"
GOOD = f"servers: [{{name: prod, dsn: 'postgresql://app:{SECRET}@db/x'}}]\n"


class Lenient:
    """Checks that find nothing wrong, and one that the DSN "bad" breaks."""

    def check_dsn(self, dsn):
        if dsn == "bad":
            raise ValueError("not a DSN")

    def check_login(self, credentials):
        pass

    def rule_problems(self, rules):
        return [f"{file.name}: rule X needs history" for file in rules.files]

    def address(self, dsn):  # noqa: ARG002  the port's signature
        return "db.example.com:5433"


def loaded(tmp_path: Path, text: str, environ=None) -> Config:
    path = tmp_path / "pgheadroom.yaml"
    path.write_text(text)
    return load(path, environ or {}, Lenient())


def problems(tmp_path: Path, text: str, environ=None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, environ)
    assert SECRET not in str(caught.value)
    return [str(problem) for problem in caught.value.problems]


def test_a_name_and_a_dsn_are_enough(tmp_path):
    config = loaded(tmp_path, GOOD)
    assert config.servers[0].name == "prod"
    assert config.polling_of(config.servers[0]).interval == 2.0
    assert SECRET not in repr(config)


def test_every_problem_is_listed_at_once_with_its_place(tmp_path):
    text = f"""
servers:
  - {{name: a, dsn: 'postgresql://u:{SECRET}@h/db', intervall: 2s}}
  - {{name: a, dsn: bad, password_file: nowhere}}
  - {{dsn: x, polling: {{interval: soon}}, labels: {{server: b}}}}
rules: {{files: [mine.rules.yaml]}}
receivers:
  - {{name: s, type: slack}}
  - {{name: p, type: pagerduty, routing_key: {SECRET}, url: 'ftp://x'}}
listen: nowhere
"""
    found = problems(tmp_path, text)
    for expected in (
        "servers[0].intervall: unknown key; interval is a key of servers[].polling",
        "servers[1].name: 'a' is already the name of servers[0]; names must differ",
        "servers[1].dsn: not a DSN",
        (
            f"servers[1].password_file: cannot read {tmp_path}/nowhere: No such file or directory;"
            " check the path and its permissions"
        ),
        "servers[2].name: missing; this key is required",
        "servers[2].polling.interval: 'soon' is not a duration; write 2s, 500ms, 5m or 1h30m",
        "rules: mine.rules.yaml: rule X needs history",
        "receivers[0]: give either webhook_url or webhook_url_file",
        "receivers[1]: url is not an http:// or https:// address",
        "listen: 'nowhere' is not an address; write HOST:PORT, e.g. 127.0.0.1:9970",
    ):
        assert expected in found
    assert any(line.startswith("servers[2].labels") and "'server'" in line for line in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "lisen: x\n", "lisen: unknown key; did you mean listen?"),
        ("servers: [{name: a, dsn: 'host=h', forecast: {}}]\n",
         "servers[0].forecast: unknown key; forecast is a key of the top level"),
        ("servers: [{name: a, dsn: 'host=h', deadline: 1s}]\n",
         "servers[0].deadline: unknown key; deadline is a key of servers[].polling"),
        (GOOD + "interval: 2s\n",
         ("interval: unknown key; interval is a key of"
          " heartbeat or polling or poolers[].polling or servers[].polling")),
        ("servers: [{name: a, dsn: 'host=h', qwerty: 1}]\n", "servers[0].qwerty: unknown key"),
        (GOOD + "receivers: [{name: s, type: slack, webhook_url: 'https://x', webhok_url: y}]\n",
         "receivers[0].webhok_url: unknown key; did you mean webhook_url?"),
        (GOOD + "receivers: [{name: s, type: slack, webhook_url: 'https://x', routing_key: y}]\n",
         ("receivers[0].routing_key: unknown key;"
          " routing_key is a key of receivers[] of type pagerduty")),
    ],
)  # fmt: skip
def test_an_unknown_key_comes_with_the_key_or_the_place_that_was_meant(tmp_path, text, said):
    assert problems(tmp_path, text) == [said]


def test_routes_lead_to_receivers_that_exist(tmp_path):
    found = problems(tmp_path, GOOD + "routes: [{receiver: nobody}]\n")
    assert found == ["routes[0].receiver: no receiver is named 'nobody'; there are: none"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a mapping"),
        ("- a\n", "not a mapping"),
        ("servers: [\n", "not YAML at line"),
        ("servers: []\n", "name at least one server"),
        ("listen: a\nlisten: b\n", "the key 'listen' stands twice"),
        ("servers: {a: b}\n", "servers"),
        (
            "servers: &a [*a]\n",
            "line 1, column 10: found unconstructable recursive node",
        ),
        ("servers: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("install_id: 2026-02-30\n", "not YAML at line 1, column 13: this is no timestamp; put"),
        ("install_id: !!int abc\n", "this is no int"),
        ("watch: !!bool foo\n", "this is no bool"),
        ("watch: !!timestamp foo\n", "this is no timestamp"),
        ("watch: !!set [a]\n", "this is no set"),
        (f"watch: {'9' * 5000}\n", "this is no int"),
        ('install_id: "\\uD800"\n', "not YAML at line 1, column 13: half a character"),
    ],
)
def test_a_file_that_is_no_configuration_gets_one_clear_error(tmp_path, text, message):
    found = problems(tmp_path, text)
    assert any(message in line for line in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: {on: x}", "servers[0].labels[1].[key]: True is no text: put the label's name in"),
        ("labels: {1: x}", "servers[0].labels[1].[key]: 1 is no text: put the label's name in"),
        ("password_file: ~nosuch/x", "password_file: ~nosuch/x: there is no such home directory"),
        ('password_file: "a\\0b"', "password_file: 'a\\x00b' is not a path"),
    ],
)
def test_what_yaml_makes_of_a_slip_is_told_at_its_place(tmp_path, text, message):
    (found,) = problems(tmp_path, f"servers: [{{name: a, dsn: x, {text}}}]\n")
    assert message in found


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("polling: {interval: .inf}", "polling.interval"),
        ("polling: {interval: .nan}", "polling.interval"),
        ("polling: {interval: 99999999999999999999w}", "polling.interval"),
        (f"polling: {{interval: {'9' * 400}}}", "polling.interval"),
        (f"polling: {{interval: {'9' * 5000}s}}", "polling.interval"),
        ("polling: {deadline: 25d}", "polling.deadline"),
        ("rules: {overrides: {X: {for: .inf}}}", "rules.overrides.X.for"),
        ("heartbeat: {url: 'http://x/', timeout: 1000000000d}", "heartbeat.timeout"),
        ("thresholds: {idle_in_transaction: .inf}", "thresholds.idle_in_transaction"),
        ('state_dir: "a\\0b"', "state_dir"),
        ("listen: a..b:9970", "listen"),
        (f"listen: {'a' * 64}.example:9970", "listen"),
        ('listen: "a\\0b:9970"', "listen"),
    ],
)
def test_what_no_process_could_run_with_is_told_before_it_runs(tmp_path, text, where):
    (found,) = problems(tmp_path, GOOD + text)
    assert found.startswith(f"{where}: ")


def test_a_duration_may_have_ten_years(tmp_path):
    assert loaded(tmp_path, GOOD + "cold_start_resolve: 3660d").cold_start_resolve == 316_224_000
    (found,) = problems(tmp_path, GOOD + "cold_start_resolve: 3661d")
    assert "within ten years" in found


def test_a_home_directory_that_nobody_has_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    (found,) = problems(tmp_path, "servers: [{name: a, dsn: x, password_file: ~/x}]\n")
    assert found.startswith("servers[0].password_file: ~/x: there is no such home directory")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("*hunter2", "line 1, column 11: a text that begins with *, ! or % stands in quotes"),
        ("!hunter2", "a text that begins with *, ! or % stands in quotes"),
        ("!a!hunter2", "a text that begins with *, ! or % stands in quotes"),
        ("@hunter2", "line 1, column 11"),
        ("%hunter2", "line 1, column 11"),
        ('"hunter2', "line 2, column 1"),
        ('"\\hunter2"', "line 1, column 13"),
        ("hunter2: hunter2", "mapping values are not allowed here"),
        ("2026-13-32", "this is no timestamp; put text in quotes"),
    ],
)
def test_a_secret_without_quotes_that_is_no_yaml_is_not_repeated(tmp_path, value, message):
    (found,) = problems(tmp_path, f"password: {value}\n")
    assert found.startswith("not YAML")
    assert message in found
    assert "unter2" not in found


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nix\.yaml: 1 problem\n  cannot read: No such file"):
        load(tmp_path / "nix.yaml", {}, Lenient())


def test_the_environment_fills_in_references(tmp_path):
    text = "servers: [{name: '${NAME:-prod}', dsn: '${DSN}', labels: {cost: '$$5'}}]\n"
    config = loaded(tmp_path, text, {"DSN": "postgresql://h/x"})
    server = config.servers[0]
    assert (server.name, server.dsn.get_secret_value()) == ("prod", "postgresql://h/x")
    assert server.labels == {"cost": "$5"}
    assert problems(tmp_path, text) == ["servers[0].dsn: the environment variable DSN is not set"]


def test_the_environment_alone_is_enough():
    environ = {
        "DATABASE_URL": "postgresql://app:pw@db.example.com:5433/shop",
        "SLACK_WEBHOOK_URL": "http://127.0.0.1/slack",
        "PAGERDUTY_ROUTING_KEY": "k" * 32,
        "PAGERDUTY_URL": "http://127.0.0.1/pd",
    }
    config = load(None, environ, Lenient())
    assert config.servers[0].name == "db.example.com:5433"
    routes = {r.receiver: [(m.label, m.value) for m in r.matchers] for r in config.effective_routes}
    assert routes == {"pagerduty": [("severity", "critical")], "slack": []}


@pytest.mark.parametrize(
    ("dsn", "name"),
    [
        ("postgresql://app@db.example.com/shop", "db.example.com"),
        ("postgresql://app@db.example.com:5433,b/shop", "db.example.com:5433"),
        ("postgresql:///shop?host=10.0.0.5&port=6000", "10.0.0.5:6000"),
        ("postgresql:///shop?host=/cloudsql/p:eu:db", "p:eu:db"),
        ("postgresql://%2Fvar%2Frun%2Fpg/shop", "pg"),
        ("postgresql://app@[::1]:6543/shop", "::1:6543"),
        ("host = 'a' port=5432", "a"),
        ("service=shop", "service_shop"),
        ("user=app", "localhost"),
    ],
)
def test_a_server_of_the_environment_is_named_so_that_no_other_has_its_name(dsn, name, monkeypatch):
    for variable in ("PGHOST", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(variable, raising=False)
    assert read_config(None, {"DATABASE_URL": dsn}).servers[0].name == name
    for variable, value, expected in (
        ("PGHOSTADDR", "10.0.0.5", "10.0.0.5"),
        ("PGHOST", "db-7,db-8", "db-7"),
        ("PGPORT", "6000", "db-7:6000"),
    ):
        monkeypatch.setenv(variable, value)
        assert read_config(None, {"DATABASE_URL": "user=app"}).servers[0].name == expected


def test_nothing_at_all_says_what_to_set():
    with pytest.raises(ConfigError, match="DATABASE_URL: not set"):
        load(None, {}, Lenient())


def test_a_servers_own_keys_lie_over_the_files(tmp_path):
    config = loaded(
        tmp_path,
        "polling: {interval: 5s, deadline: 3s}\n"
        "thresholds: {connections_warning: 0.6}\n"
        "servers:\n"
        "  - {name: a, dsn: x, polling: {interval: 1s}, thresholds: {connections_critical: null}}\n"
        "  - {name: b, dsn: x}\n",
    )
    own, other = config.servers
    assert (config.polling_of(own).interval, config.polling_of(own).deadline) == (1.0, 3.0)
    assert config.polling_of(other).interval == 5.0
    assert "connections_critical" not in config.thresholds_of(own)
    assert config.thresholds_of(own)["connections_warning"] == 0.6
    assert config.thresholds_of(other)["connections_critical"] == 0.85


def test_secret_files_are_read_anew(tmp_path):
    (tmp_path / "hook").write_text("http://127.0.0.1/one\n")
    text = GOOD + "receivers: [{name: s, type: slack, webhook_url_file: hook}]\n"
    receiver = loaded(tmp_path, text).receivers[0]
    assert receiver.type == "slack"
    assert receiver.address() == "http://127.0.0.1/one"
    (tmp_path / "hook").write_text("http://127.0.0.1/two\n")
    assert receiver.address() == "http://127.0.0.1/two"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
), max_leaves=8))  # fmt: skip
def test_whatever_is_given_is_refused_in_words(value):
    for key in ("servers", "receivers", "polling", "routes", "listen", "rules"):
        raw = {"servers": [{"name": "a", "dsn": "x"}]} | {key: value}
        try:
            Config.model_validate(raw)
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ('env="prod"', {"env": "prod"}, True),
        ('env="prod"', {}, False),
        ('env!="prod"', {}, True),
        ('env=~"pr.*"', {"env": "prod"}, True),
        ('env=~"pr"', {"env": "prod"}, False),
        ('env!~"pr.*"', {"env": "prod"}, False),
        (r'env="a\"b"', {"env": 'a"b'}, True),
        ('env=~"([a-z0-9]+-?)+[.]com"', {"env": "checkoutservice-production-replica01"}, False),
    ],
)
def test_matchers_mean_what_they_mean_in_prometheus(tmp_path, text, labels, expected):
    quoted = text.replace("'", "''")
    config = loaded(
        tmp_path,
        GOOD + "receivers: [{name: s, type: slack, webhook_url: 'http://127.0.0.1/'}]\n"
        f"routes: [{{receiver: s, matchers: ['{quoted}']}}]\n",
    )
    assert config.routes[0].matchers[0].matches(labels) is expected
