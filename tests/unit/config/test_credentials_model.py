"""Keys of a login: one source of the password, and what is wrong with each in one sentence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from exporter.config.errors import ConfigError
from exporter.config.load import load
from exporter.config.server import Server
from exporter.reload import Checks

DSN = "postgresql://watcher@db.example.com/postgres"


def problems(tmp_path, **keys):
    (tmp_path / "password").write_text("hunter2\n")
    document = tmp_path / "pgheadroom.yaml"
    document.write_text(repr({"servers": [{"name": "db", "dsn": DSN} | keys]}))
    try:
        load(document, {}, Checks())
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "keys",
    [
        {"password_file": "password"},
        {"password_command": ["vault", "read", "-field=password", "db/creds"]},
        {"password_command": "vault read -field=password db/creds"},
        {"password_command": ["true"], "password_timeout": "30s"},
        {"rds_iam": {"region": "eu-west-1"}},
        {"rds_iam": {"region": "eu-west-1", "profile": "watching"}},
        {"dsn": "postgresql://watcher:hunter2@db"},
        {"provider": "rds"},
        {"provider": "supabase", "provider_reserved": 0},
    ],
)
def test_one_source_of_the_password_passes(tmp_path, keys):
    assert problems(tmp_path, **keys) == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {"password_file": "password", "password_command": ["true"]},
            "servers[0]: password_file and password_command each give a password; leave only one",
        ),
        (
            {"password_command": ["true"], "rds_iam": {"region": "x"}},
            "servers[0]: password_command and rds_iam each give a password; leave only one",
        ),
        (
            {"dsn": "postgresql://w:hunter2@db", "password_file": "password"},
            "servers[0]: password_file and a password in the dsn each give a password; leave only",
        ),
        (
            {"probe": {"credentials": {"dsn": "postgresql://a:hunter2@db",
                                       "password_command": ["true"]}}},
            "servers[0].probe.credentials: password_command and a password in the dsn each give a",
        ),
        ({"rds_iam": {}}, "servers[0].rds_iam.region: missing; this key is required"),
        ({"provider": "cloudsql"}, "servers[0]: provider cloudsql documents no reserve; set"),
        ({"provider": "heroku"}, "servers[0].provider: input should be 'rds', 'aurora', 'azure'"),
        ({"password_comand": ["true"]}, "did you mean password_command?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_without_the_password(tmp_path, keys, said):
    (problem,) = problems(tmp_path, **keys)
    assert said in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize("command", ["", [], [""], 7])
def test_a_command_has_a_program(tmp_path, command):
    (problem,) = problems(tmp_path, password_command=command)
    assert problem.startswith("servers[0].password_command")


def test_a_line_is_for_the_shell():
    server = Server.model_validate({"name": "db", "dsn": DSN, "password_command": "a | b"})
    assert server.password_command == ("/bin/sh", "-c", "a | b")


def test_without_the_checks_of_other_rooms_the_keys_still_exclude_each_other():
    with pytest.raises(ValidationError, match="leave only one"):
        Server.model_validate(
            {"name": "db", "dsn": DSN, "password_command": "a", "rds_iam": {"region": "x"}}
        )
