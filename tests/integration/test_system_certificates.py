"""`sslrootcert=system`: the certificates of this machine, which psycopg's wheel cannot find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.demo.postgres import EmbeddedPostgres
from exporter.sources.trust import FILE, FILES, FOLDER, FOLDERS
from tests.conftest import StartPostgres
from tests.support.certificates import Authority, turn_tls_on
from tests.support.postgres import eventually

#: A login, after which this machine's certificates are taken to be those in one more file.
LOGIN = """
import asyncio, sys
from pydantic import SecretStr
from exporter.sources.trust import trust_the_system
dsn, *files = sys.argv[1:]
if files:
    trust_the_system(files, folders=())
from exporter.config.credentials import Credentials
from exporter.sources.probe import probe
found = asyncio.run(probe(Credentials(dsn=SecretStr(dsn)), "direct", 10.0, 5.0))
print(found.message or "logged in")
"""
CHILD = "import json, os; print(json.dumps(dict(os.environ)))"
#: What pgheadroom's process has, and what a program that it starts is given.
ENVIRONMENTS = f"""
import asyncio, json, os, shlex, sys
from pydantic import SecretStr
from exporter.config.credentials import Credentials
import exporter.sources.connection
from exporter.sources.passwords import made_password
command = [sys.executable, "-c", {CHILD!r}]
given = Credentials(dsn=SecretStr("host=db"), password_command=command)
print(json.dumps([dict(os.environ), json.loads(asyncio.run(made_password(given, {{}})))]))
"""


def told(script: str, *arguments: str, **variables: str) -> str:
    """What a process writes that has `variables`, and otherwise none about certificates."""
    environment = {name: value for name, value in os.environ.items() if name not in {FILE, FOLDER}}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def dsn(authority: Authority, start_shared: StartPostgres) -> str:
    server: EmbeddedPostgres = start_shared(15)
    turn_tls_on(server, authority)
    found = server.dsn(sslmode="verify-full", sslrootcert="system")
    own = server.dsn(sslmode="verify-full", sslrootcert=str(authority.ca))
    assert eventually(lambda: told(LOGIN, own) == "logged in", 30) is True
    return found


def test_a_certificate_that_the_machine_trusts_is_accepted(dsn: str, authority: Authority) -> None:
    assert "certificate verify failed" in told(LOGIN, dsn)
    assert told(LOGIN, dsn, "/no/such/file", str(authority.ca)) == "logged in"


@pytest.mark.parametrize("name", [FILE, FOLDER])
def test_what_an_operator_says_of_certificates_stands(
    dsn: str, authority: Authority, tmp_path: Path, name: str
) -> None:
    refused = told(LOGIN, dsn, str(authority.ca), **{name: str(tmp_path)})
    assert "certificate verify failed" in refused
    accepted = told(LOGIN, dsn, "/no/such/file", **{FILE: str(authority.ca)})
    assert accepted == "logged in"


def test_the_places_of_this_machine_are_said_to_openssl_and_not_to_other_programs() -> None:
    own, child = json.loads(told(ENVIRONMENTS))
    assert {own.get(FILE)} <= {*FILES, None}
    assert {own.get(FOLDER)} <= {*FOLDERS, None}
    said = [own[name] for name in (FILE, FOLDER) if name in own]
    assert said
    assert all(Path(each).exists() for each in said)
    assert not {FILE, FOLDER} & child.keys()
    own, child = json.loads(told(ENVIRONMENTS, **{FILE: "/ours.pem"}))
    assert (own[FILE], child[FILE]) == ("/ours.pem", "/ours.pem")
    assert FOLDER not in own
