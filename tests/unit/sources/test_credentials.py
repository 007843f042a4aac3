"""DSNs: what passes, what is refused in which words, and what is never said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.snapshot.server import Reason
from exporter.sources.credentials import check_dsn, conninfo, describe, secret_parts, tls_warning
from exporter.sources.errors import SourceError


@pytest.fixture(autouse=True)
def _no_libpq_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in os.environ if each.startswith("PG")]:
        monkeypatch.delenv(name)


def credentials(dsn: str, password_file: Path | None = None) -> Credentials:
    return Credentials(dsn=SecretStr(dsn), password_file=password_file)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:s%40cret@db.example.com:6543/shop?sslmode=verify-full",
        "postgres://app@db/shop",
        "postgresql://",
        "postgresql://app@[2001:db8::1]:5432/shop",
        "postgresql://app@db1:5432,db2:5433/shop?target_session_attrs=read-write",
        "postgresql:///shop?host=/run/postgresql&user=app",
        "postgresql://%2Frun%2Fpostgresql/shop",
        "postgresql://app:s%2Fcr%40t@db/a%40b?application_name=a/b@c",
        "postgresql://db?application_name=a/b@c",
        "host=db user=app password=a://b/c@d",
        "host=/run/postgresql user=app",
        "host=db1,db2 port=5432,5433 user=app password='a b'",
        "host=@abstract user=app",
        "service=production",
        "  host=db user=app\n",
    ],
)
def test_what_libpq_accepts_passes(dsn: str) -> None:
    check_dsn(dsn)


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("", "is empty"),
        ("postgres//hunter2", "neither a URL"),
        ("hunter2", "neither a URL"),
        ("mysql://u:hunter2@h/d", "starts with postgresql://"),
        ("postgresql://u:hunter2@h:99999/d", "port in the DSN"),
        ("postgresql://u:hunter2@h:0/d", "port in the DSN"),
        ("postgresql://u:hunter2@h:http/d", "port in the DSN"),
        ("postgresql://u:hun/hunter2@h/d", "percent-encode"),
        ("postgresql://u:hun@hunter2@h/d", "percent-encode"),
        ("postgresql://u:/hunter2@h:5432/d", "percent-encode"),
        ("postgresql://u:12/hunter2@h/d?sslmode=require", "percent-encode"),
        ("postgresql://u:12/hun?ter/hunter2@h/d", "libpq does not know"),
        ("postgresql://u:hunter2%zz@h/d", "valid escape"),
        ("postgresql://u@h/d?sslmod=hunter2", "unknown parameter sslmod; is sslmode meant?"),
        ("postgresql://u:hunter2@h/d?schema=public", "parameter schema of another driver"),
        ("postgresql://u@h/d?hunter2=1", "that libpq does not know"),
        ("postgresql://u:hunter2@[::1/d", "cannot be parsed"),
        ("postgresql://u:hunter2@h/d?sslmode=on", "sslmode in the DSN must be one of"),
        ("host=h password=hun hunter2=1", "single quotes"),
        ("host=h password='hunter2", "quote in the DSN is not closed"),
        ("host=h password=hun hunter2", "cannot be parsed"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(dsn: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^\w.+") as caught:
        check_dsn(dsn)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert describe(dsn) == "(invalid DSN)"
    assert tls_warning(dsn) is None


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://app:hunter2@db:6543/shop", "app@db:6543/shop"),
        ("postgresql://app:hunter2@db", "app@db:5432/postgres"),
        ("postgresql://app@[::1]:1/shop", "app@[::1]:1/shop"),
        ("postgresql://app@a:1,b:2/shop", "app@a:1,b:2/shop"),
        ("host=a,b port=7 user=app dbname=shop", "app@a:7,b:7/shop"),
        ("host=/run/postgresql dbname=shop password=hunter2", "/run/postgresql:5432/shop"),
        ("hostaddr=10.0.0.1 user=app", "app@10.0.0.1:5432/postgres"),
        ("user=app", "app@localhost:5432/postgres"),
        ("service=shop user=app", "app@service shop"),
        ("service=shop host=db", "db:5432/postgres"),
    ],
)
def test_description_is_the_address_without_secrets(dsn: str, said: str) -> None:
    assert describe(dsn) == said


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app@localhost/shop",
        "postgresql://app@127.0.0.53/shop?sslmode=disable",
        "postgresql://app@[::1]/shop",
        "host=/run/postgresql",
        "user=app",
        "postgresql://app@db/shop?sslmode=verify-full",
        "postgresql://app@db/shop?sslrootcert=system",
    ],
)
def test_no_warning_where_nobody_can_listen_or_answer_instead(dsn: str) -> None:
    assert tls_warning(dsn) is None


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_weaker_modes_to_another_machine_are_warned_about(mode: str) -> None:
    warning = tls_warning(f"postgresql://app:hunter2@db.example.com/shop?sslmode={mode}")
    assert warning is not None
    assert f"sslmode={mode}" in warning
    assert "db.example.com" in warning
    assert "hunter2" not in warning


def test_the_default_mode_is_warned_about_and_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "sslmode=prefer" in (tls_warning("host=db") or "")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert tls_warning("host=db") is None


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"PGHOST": "db.example.com"}, "db.example.com"),
        ({"PGHOST": "localhost", "PGHOSTADDR": "10.0.0.1"}, "10.0.0.1"),
        ({"PGHOST": "/run/postgresql"}, None),
        ({"PGHOST": "db.example.com", "PGSSLMODE": "verify-full"}, None),
        ({"PGHOST": "db.example.com", "PGSSLROOTCERT": "system"}, None),
    ],
)
def test_a_host_of_the_environment_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], host: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    warning = tls_warning("user=app")
    assert warning is None if host is None else f"that {host} is" in (warning or "")


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "pg_service.conf"
    path.write_text("[shop]\nhost=db.example.com\nport=6543\nsslmode=require\npassword=hunter2\n")
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


@pytest.mark.parametrize(
    ("dsn", "variables", "mode"),
    [
        ("service=shop", {}, "require"),
        ("user=app", {"PGSERVICE": "shop"}, "require"),
        ("service=shop", {"PGSSLMODE": "verify-full"}, "require"),
        ("service=shop sslmode=verify-ca", {}, "verify-ca"),
        ("service=shop sslmode=verify-full", {}, None),
        ("service=shop host=localhost", {"PGHOST": "elsewhere"}, None),
        ("service=unknown", {"PGHOST": "elsewhere"}, None),
    ],
)
@pytest.mark.usefixtures("service")
def test_a_host_of_a_service_file_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, dsn: str, variables: dict[str, str], mode: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    warning = tls_warning(dsn)
    said = f"sslmode={mode} does not check that db.example.com is"
    assert warning is None if mode is None else said in (warning or "")
    assert "hunter2" not in (warning or "")


def test_the_address_of_a_service_is_read_anew_for_each_connection(service: Path) -> None:
    given = credentials("service=shop")
    first = conninfo(given)
    assert (first["host"], first["port"], first["service"]) == ("db.example.com", "6543", "shop")
    assert "password" not in first
    service.write_text("[shop]\nhost=other.example.com\n")
    assert (conninfo(given)["host"], conninfo(given)["port"]) == ("other.example.com", "5432")


def test_the_address_of_the_environment_is_where_a_connection_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.setenv("PGPORT", "1,2")
    params = conninfo(credentials("user=app"))
    assert (params["host"], params["port"]) == ("a,b", "1,2")
    params = conninfo(credentials("host=db"))
    assert (params["host"], "port" in params) == ("db", False)


def test_a_remote_host_among_local_ones_is_found() -> None:
    assert "db.example.com" in (tls_warning("host=localhost,db.example.com") or "")


def test_connections_name_themselves_and_go_to_the_database_postgres() -> None:
    params = conninfo(credentials("postgresql://app@db?application_name=other"))
    assert params["application_name"] == "pgheadroom"
    assert params["client_encoding"] == "SQL_ASCII"
    assert params["dbname"] == "postgres"


def test_a_database_that_is_named_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert conninfo(credentials("postgresql://app@db/shop"))["dbname"] == "shop"
    assert "dbname" not in conninfo(credentials("service=production"))
    monkeypatch.setenv("PGDATABASE", "from_environment")
    assert "dbname" not in conninfo(credentials("postgresql://app@db"))


def test_the_password_file_is_read_for_each_connection(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first \n")
    given = credentials("postgresql://app:ignored@db", path)
    assert conninfo(given)["password"] == "first "
    path.write_text("second\r\n")
    assert conninfo(given)["password"] == "second"
    assert secret_parts(conninfo(given)) == ("second",)


def test_a_password_file_that_went_away_is_a_failed_login(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first")
    given = credentials("postgresql://app@db", path)
    path.unlink()
    with pytest.raises(SourceError) as caught:
        conninfo(given)
    assert caught.value.failure.reason is Reason.AUTH
    assert str(path) in caught.value.failure.message


def test_a_password_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first")
    given = credentials("postgresql://app@db", path)
    path.write_bytes(b"hunter2\xff")
    with pytest.raises(SourceError, match="not UTF-8 text") as caught:
        conninfo(given)
    assert "hunter2" not in str(caught.value)


def test_a_bad_dsn_is_a_failure_without_its_text() -> None:
    with pytest.raises(SourceError) as caught:
        conninfo(credentials("postgresql://u:hunter2%zz@h/d"))
    assert caught.value.failure.reason is Reason.ERROR
    assert "hunter2" not in str(caught.value)
