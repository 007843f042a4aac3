from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.demo import wire

LETTERS = st.sampled_from("RSKZETCDN")
BODIES = st.binary(max_size=60)


def encoded(letter: str, body: bytes) -> bytes:
    return letter.encode() + struct.pack("!I", len(body) + 4) + body


@given(st.lists(st.tuples(LETTERS, BODIES), max_size=8), st.data())
def test_messages_survive_any_cut_of_the_stream(
    messages: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encoded(letter, body) for letter, body in messages)
    decoder = wire.Decoder()
    decoded = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        decoded += decoder.feed(stream[:size])
        stream = stream[size:]
    assert [(message.type, message.body) for message in decoded] == messages


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_a_protocol_error(data: bytes) -> None:
    try:
        decoded = wire.Decoder().feed(data)
    except wire.ProtocolError:
        return
    assert sum(len(message.body) + 5 for message in decoded) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"Z\x00\x00\x00\x03",
        b"D" + struct.pack("!I", wire.LARGEST_BODY + 1),
        b"\x00\x00\x00\x00\x05",
    ],
)
def test_what_is_not_postgres_is_refused(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError, match="not a message of Postgres"):
        wire.Decoder().feed(data)


def test_the_startup_message_names_the_client() -> None:
    message = wire.startup(user="app", application_name="checkout")
    assert struct.unpack("!II", message[:8]) == (len(message), 196608)
    assert message[8:] == b"user\x00app\x00application_name\x00checkout\x00\x00"


def test_a_query_is_one_message() -> None:
    (message,) = wire.Decoder().feed(wire.query("select 1"))
    assert (message.type, message.body) == ("Q", b"select 1\x00")


@given(st.binary(max_size=80))
def test_error_fields_never_fail(body: bytes) -> None:
    fields = wire.error_fields(body)
    assert all(len(letter) == 1 for letter in fields)


def test_error_fields_of_a_refusal() -> None:
    body = b"SFATAL\x00VFATAL\x00C53300\x00Mdesole, trop de clients d\xe9j\xe0\x00\x00"
    assert wire.error_fields(body) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": wire.TOO_MANY_CONNECTIONS,
        "M": "desole, trop de clients d\\xe9j\\xe0",
    }
