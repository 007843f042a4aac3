"""Tokens of AWS IAM: signed here, offline, with made-up credentials."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from exporter.config.credentials import Credentials
from exporter.snapshot.server import Reason
from exporter.sources.credentials import check_login, login, secret_parts
from exporter.sources.errors import SourceError
from tests.support.receivers import Answer, HttpReceiver

HOST = "shop.abc123.eu-west-1.rds.amazonaws.com"
DSN = f"postgresql://watcher@{HOST}:6543/postgres?sslmode=verify-full"
KEYS = "[{profile}]\naws_access_key_id={key}\naws_secret_access_key=made-up\n"


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Static credentials in a file, and nothing else to find any in."""
    file = tmp_path / "aws-credentials"
    file.write_text(KEYS.format(profile="default", key="AKIDFIRST"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGUSER", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    return file


def credentials(dsn: str = DSN, **rds: str) -> Credentials:
    return Credentials.model_validate(
        {"dsn": SecretStr(dsn), "rds_iam": {"region": "eu-west-1"} | rds}
    )


def token(given: Credentials) -> str:
    params = asyncio.run(login(given))
    assert secret_parts(params) == (params["password"],)
    return params["password"]


def signer(made: str) -> str:
    query = parse_qs(urlsplit(f"https://{made}").query)
    return query["X-Amz-Credential"][0].split("/")[0]


def test_a_token_is_for_the_host_port_and_role_of_the_dsn() -> None:
    made = urlsplit(f"https://{token(credentials())}")
    query = parse_qs(made.query)
    assert (made.hostname, made.port) == (HOST, 6543)
    assert query["DBUser"] == ["watcher"]
    assert query["Action"] == ["connect"]
    assert query["X-Amz-Credential"][0].endswith("/eu-west-1/rds-db/aws4_request")


def test_the_port_is_libpqs_where_the_dsn_names_none() -> None:
    assert token(credentials(f"postgresql://watcher@{HOST}")).startswith(f"{HOST}:5432/")


def test_rotated_keys_sign_the_next_token(aws: Path) -> None:
    assert signer(token(credentials())) == "AKIDFIRST"
    aws.write_text(KEYS.format(profile="default", key="AKIDSECOND"))
    assert signer(token(credentials())) == "AKIDSECOND"


def test_a_profile_signs_for_itself(aws: Path) -> None:
    aws.write_text(aws.read_text() + KEYS.format(profile="watching", key="AKIDPROFILE"))
    assert signer(token(credentials(profile="watching"))) == "AKIDPROFILE"


@pytest.mark.parametrize(
    ("contents", "profile", "kind"),
    [("", {}, "NoCredentialsError"), ("", {"profile": "none"}, "ProfileNotFound")],
)
def test_without_keys_there_is_a_sentence_and_no_token(
    aws: Path, contents: str, profile: dict[str, str], kind: str
) -> None:
    aws.write_text(contents)
    with pytest.raises(SourceError) as caught:
        token(credentials(**profile))
    failure = caught.value.failure
    assert failure.reason is Reason.AUTH
    assert failure.message == f"no token could be signed: {kind}"
    assert "rds-db:connect" in failure.hint


def test_a_role_that_may_not_be_assumed_is_named_by_its_code(
    aws: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
        "<Code>AccessDenied</Code><Message>hunter2</Message></Error></ErrorResponse>"
    )
    config = aws.with_name("config")
    config.write_text(
        "[profile watching]\nsource_profile=default\nregion=eu-west-1\n"
        "role_arn=arn:aws:iam::123456789012:role/watching\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    answer = Answer(403, body, {"Content-Type": "text/xml"})
    with HttpReceiver(otherwise=answer) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(SourceError) as caught:
            token(credentials(profile="watching"))
    failure = caught.value.failure
    assert failure.reason is Reason.AUTH
    assert failure.message == "no token could be signed: AccessDenied"


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    advice = "install pgheadroom with its extra: aws"
    with pytest.raises(ValueError, match=advice):
        check_login(credentials())
    with pytest.raises(SourceError, match=advice) as caught:
        token(credentials())
    assert caught.value.failure.reason is Reason.AUTH


@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        (f"postgresql://{HOST}", "name it in the dsn"),
        (f"postgresql://w@{HOST},other", "for one host"),
        ("postgresql://w@/postgres?host=/run/postgresql", "for one host"),
        ("service=shop", "for one host"),
        (f"postgresql://w@{HOST}?sslmode=disable", "needs TLS"),
        (f"postgresql://w:hunter2@{HOST}", "rds_iam and a password in the dsn"),
        (f"postgresql://w@{HOST}?passfile=/etc/pass", "rds_iam and a passfile in the dsn"),
    ],
)
def test_what_no_token_can_be_made_for_is_said_when_it_is_configured(dsn: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        check_login(credentials(dsn))
    assert "hunter2" not in str(caught.value)


def test_one_that_can_be_made_passes() -> None:
    check_login(credentials())
