"""Every text that a refusal was ever seen to carry, and the reason it must be given."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from exporter.snapshot.server import Reason
from exporter.sources.connection import connect
from exporter.sources.errors import SourceError, classify, redact

DATA = json.loads((Path(__file__).parents[2] / "data" / "connect_errors.json").read_text())
ADDRESS = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
CACHED = "server login has been failing, cached error: "
SEVERAL = "Multiple connection attempts failed. All failures were:"


def raised(case: dict[str, str]) -> psycopg.Error:
    kind = getattr(errors, case["class"])
    text = (ADDRESS if case["phase"] == "connect" else "") + case["text"]
    error: psycopg.Error = kind(text)
    return error


def refusal(text: str) -> psycopg.Error:
    return psycopg.OperationalError(ADDRESS + text)


def several(*texts: str) -> psycopg.Error:
    lines = [f"- host: 'db{n}', port: '1', hostaddr: None: {t}" for n, t in enumerate(texts)]
    return psycopg.OperationalError("\n".join([texts[-1], SEVERAL, *lines]))


@pytest.mark.parametrize("case", DATA["cases"], ids=lambda case: f"{case['case']}: {case['text']}")
def test_every_captured_text_has_its_reason(case: dict[str, str]) -> None:
    assert classify(raised(case)).reason == case["reason"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "a"', Reason.AUTH),
        ('FATAL:  permission denied for database "postgres"', Reason.AUTH),
        ('FATAL:  PAM authentication failed for user "app"', Reason.AUTH),
        ("SSL error: certificate verify failed", Reason.TLS),
        ('server certificate for "a" does not match host name "b"', Reason.TLS),
        ('root certificate file "/x" does not exist', Reason.TLS),
        ("SSL SYSCALL error: EOF detected", Reason.NETWORK),
        ("No route to host", Reason.NETWORK),
        ("Connection timed out", Reason.NETWORK),
        (f"FATAL:  {CACHED}remaining connection slots are reserved for x", Reason.REFUSED),
        ("FATAL:  server login failed: FATAL sorry, too many clients already", Reason.REFUSED),
    ],
)
def test_texts_from_documentation_and_reports(text: str, reason: Reason) -> None:
    assert classify(refusal(text)).reason is reason


def test_a_resolver_error_is_of_the_network() -> None:
    error = psycopg.OperationalError("failed to resolve host 'db': [Errno -2] Name not known")
    assert classify(error).reason is Reason.NETWORK


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  désolé, trop de clients sont déjà connectés",
        "ВАЖНО:  извините, уже слишком много клиентов",
        "致命错误:  对不起, 已经有太多的客户",
    ],
)
def test_unknown_words_of_a_server_count_as_refused_only_when_it_was_nearly_full(text: str) -> None:
    assert classify(refusal(text), used_ratio=0.90).reason is Reason.REFUSED
    assert classify(refusal(text), used_ratio=0.89).reason is Reason.ERROR
    assert classify(refusal(text)).reason is Reason.ERROR


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('FATAL:  password authentication failed for user "a"', Reason.AUTH),
        ("some words of libpq itself", Reason.ERROR),
    ],
)
def test_what_is_known_or_not_of_the_server_stays_so_when_nearly_full(
    text: str, reason: Reason
) -> None:
    assert classify(refusal(text), used_ratio=1.0).reason is reason


def test_a_translated_statement_error_is_known_by_its_sqlstate() -> None:
    assert classify(errors.QueryCanceled("annulation de la requête")).reason is Reason.LATE
    assert classify(errors.InsufficientPrivilege("droit refusé")).reason is Reason.UNPRIVILEGED
    assert classify(errors.AdminShutdown("arrêt")).reason is Reason.STARTING
    assert classify(errors.ConnectionException("coupé")).reason is Reason.NETWORK


def test_of_several_addresses_the_most_telling_answer_counts() -> None:
    silent = ADDRESS + "Connection refused\n\tIs the server running on that host?"
    full = ADDRESS + "FATAL:  sorry, too many clients already"
    wrong = ADDRESS + 'FATAL:  password authentication failed for user "a"'
    assert classify(several(full, silent)).reason is Reason.REFUSED
    assert classify(several(silent, full)).reason is Reason.REFUSED
    assert classify(several(wrong, silent)).reason is Reason.AUTH
    assert classify(several(silent, silent)).reason is Reason.NETWORK


def test_sslmode_prefer_tries_twice_and_the_full_server_is_what_counts() -> None:
    first = 'FATAL:  no pg_hba.conf entry for host "h", user "u", database "d", SSL encryption\n'
    second = (
        'connection to server at "h", port 5432 failed: FATAL:  sorry, too many clients already'
    )
    assert classify(refusal(first + second)).reason is Reason.REFUSED


def test_the_message_is_what_the_server_said_in_one_line() -> None:
    failure = classify(refusal("FATAL:  the database system is starting up\nDETAIL:  more"))
    assert failure.message == "the database system is starting up"


def test_without_an_answer_the_message_names_the_address() -> None:
    failure = classify(refusal("Connection refused\n\tIs the server running on that host?"))
    expected = 'connection to server at "127.0.0.1", port 5432 failed: Connection refused'
    assert failure.message == expected


def test_no_answer_in_time_is_late() -> None:
    assert classify(TimeoutError()).reason is Reason.LATE
    assert classify(errors.ConnectionTimeout("connection timeout expired")).reason is Reason.LATE


def test_a_text_that_says_nothing_is_an_error_all_the_same() -> None:
    assert classify(psycopg.OperationalError("")).reason is Reason.ERROR


def test_what_must_be_done_is_said_where_it_is_known() -> None:
    assert "CONNECTION LIMIT" in classify(refusal('FATAL:  too many connections for role "x"')).hint
    assert "pg_hba.conf" in classify(refusal("FATAL:  no pg_hba.conf entry for host")).hint
    for text in (
        'root certificate file "/x" does not exist',
        "could not get home directory to locate root certificate file",
    ):
        assert "sslrootcert=system" in classify(refusal(text)).hint


@pytest.mark.parametrize(
    "text",
    [
        "FATAL:  odd words about hunter2",
        "could not parse postgresql://app:hunter2@db/x",
        "missing = after password=hunter2 host=x",
        "bad connection string password = 'hunter2'",
    ],
)
def test_no_secret_is_in_a_message(text: str) -> None:
    failure = classify(refusal(text), secrets=["hunter2"])
    assert "hunter2" not in failure.message + failure.hint
    assert "***" in failure.message


def test_what_looks_like_a_password_is_masked_even_when_it_is_not_known() -> None:
    assert redact("x postgresql://app:hunter2@db/x") == "x postgresql://app:***@db/x"
    assert redact("password=hunter2 host=db") == "password=*** host=db"
    assert redact("password='hunter 2' host=db") == "password=*** host=db"


def test_a_longer_secret_is_masked_before_the_shorter_one_that_begins_it() -> None:
    assert redact("abcdef", ["abc", "abcdef", ""]) == "***"


def test_what_libpq_could_not_parse_is_not_quoted() -> None:
    with pytest.raises(psycopg.ProgrammingError, match="secret"):
        psycopg.connect("host=localhost secret=a")
    with pytest.raises(SourceError) as caught:
        asyncio.run(connect({"host": "localhost", "secret": "a"}, 1.0))
    assert "secret" not in str(caught.value)


def test_messages_are_short() -> None:
    assert len(redact("x" * 5000)) == 300


def test_a_source_error_reads_as_its_reason_and_message() -> None:
    failure = classify(refusal("FATAL:  sorry, too many clients already"))
    assert str(SourceError(failure)) == "refused: sorry, too many clients already"
