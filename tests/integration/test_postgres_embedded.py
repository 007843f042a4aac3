"""The embedded server that the demo and every other integration test stand on."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from exporter.demo.binaries import PostgresError, binaries, reachable
from exporter.demo.postgres import EmbeddedPostgres
from tests.conftest import StartPostgres
from tests.support.binaries import MAJORS, installed


def test_runs_the_version_that_was_asked_for(postgres: EmbeddedPostgres) -> None:
    assert postgres.psql("show server_version").startswith(f"{postgres.major}.")
    assert postgres.psql("show max_connections") == "100"


@pytest.mark.parametrize("major", [major for major in MAJORS if installed(major)])
def test_what_is_kept_for_other_checkouts_does_not_lead_into_this_one(
    shared_postgres: Callable[[int], EmbeddedPostgres], major: int
) -> None:
    shared_postgres(major)
    folder = installed(major)
    assert folder is not None
    links = [path for path in folder.parent.rglob("*") if path.is_symlink()]
    assert links
    assert [link for link in links if not link.resolve().is_relative_to(folder.parent)] == []
    assert [link for link in links if not link.exists()] == []


def test_dsn_leads_to_the_server_over_tcp_and_over_the_socket(postgres: EmbeddedPostgres) -> None:
    for dsn in (postgres.dsn(), postgres.dsn(host=str(postgres.socket_dir))):
        with psycopg.connect(dsn) as connection:
            assert connection.info.port == postgres.port


def test_hba_lines_replace_trust_over_tcp_only(start_postgres: StartPostgres) -> None:
    server = start_postgres(16, hba=["host all all 127.0.0.1/32 scram-sha-256"])
    server.psql("create role app login password 'a/b@c'")
    with psycopg.connect(server.dsn("app", password="a/b@c")) as connection:
        assert connection.info.user == "app"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn("app", password="wrong"))


def test_restart_keeps_port_and_data(start_postgres: StartPostgres) -> None:
    server = start_postgres(18)
    server.psql("create table kept (n int)")
    port, pid = server.port, server.pid
    server.restart("immediate")
    assert (server.port, server.psql("select count(*) from kept")) == (port, "0")
    assert server.pid != pid


def test_a_bad_setting_is_told_from_the_log() -> None:
    server = EmbeddedPostgres(16, {"max_connections": "many"})
    try:
        with pytest.raises(PostgresError, match='"max_connections": "many"'):
            server.start()
    finally:
        server.remove()


def test_psql_fails_with_what_the_server_said(postgres16: EmbeddedPostgres) -> None:
    with pytest.raises(PostgresError, match='relation "nowhere" does not exist'):
        postgres16.psql("select 1; select * from nowhere")


def test_remove_leaves_nothing_behind(start_postgres: StartPostgres) -> None:
    server = start_postgres(16)
    home, pid = server.socket_dir, server.pid
    server.remove()
    assert not home.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_an_unknown_version_names_those_that_exist() -> None:
    with pytest.raises(PostgresError, match="no embedded Postgres 9; use 16 or 18"):
        EmbeddedPostgres(9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the user")
def test_binaries_that_nobody_can_reach_are_copied() -> None:
    # Not below pytest's own folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="pgheadroom-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        package = binaries(16).parent.parent
        hidden = home / "hidden" / package.name / "pginstall"
        (hidden / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy(binaries(16) / program, hidden / "bin")
        shutil.copytree(f"{package}.libs", home / "hidden" / f"{package.name}.libs")
        (home / "hidden").chmod(0o700)
        copy = reachable(hidden, home / "cache")
        assert copy == home / "cache" / package.name / "pginstall"
        assert reachable(hidden, home / "cache") == copy
