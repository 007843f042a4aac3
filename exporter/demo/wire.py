"""The few messages of Postgres' protocol that the launch's clients speak, as pure functions.

Formats: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

_PROTOCOL_3_0 = 196608
_HEADER = struct.Struct("!cI")
LARGEST_BODY = 1 << 20
"""Bytes. No answer to a startup or to `select 1` comes near it: more is not Postgres speaking."""
TERMINATE = b"X\x00\x00\x00\x04"
TOO_MANY_CONNECTIONS = "53300"
"""SQLSTATE too_many_connections (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""


class ProtocolError(Exception):
    """What came over the line is not Postgres' protocol, version 3."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the server: its type byte as a letter, and what follows the length."""

    type: str
    body: bytes


class Decoder:
    """Cuts a stream of bytes into messages, however the network cut it."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes.

        Raises:
            ProtocolError: a type is not a letter, or a length is impossible.
        """
        buffer = self._pending + data
        messages = []
        while len(buffer) >= _HEADER.size:
            letter, length = _HEADER.unpack_from(buffer)
            if not letter.isalpha() or not 4 <= length <= LARGEST_BODY:  # noqa: PLR2004  its own size
                raise ProtocolError(f"not a message of Postgres: {buffer[:16]!r}")
            if len(buffer) < 1 + length:
                break
            messages.append(Message(letter.decode("ascii"), buffer[_HEADER.size : 1 + length]))
            buffer = buffer[1 + length :]
        self._pending = buffer
        return messages


def startup(**parameters: str) -> bytes:
    """A StartupMessage for protocol 3.0, e.g. `startup(user="app", database="shop")`."""
    pairs = b"".join(_text(name) + _text(value) for name, value in parameters.items())
    return _sized(struct.pack("!I", _PROTOCOL_3_0) + pairs + b"\x00")


def query(sql: str) -> bytes:
    """A simple Query message."""
    return b"Q" + _sized(_text(sql))


def error_fields(body: bytes) -> dict[str, str]:
    r"""The fields of an ErrorResponse by letter: `C` the SQLSTATE, `M` the message, `S` severity.

    Bytes that are not UTF-8 are escaped, for before login the server's encoding is unknown.

    >>> error_fields(b"SFATAL\x00C53300\x00Msorry\x00\x00")
    {'S': 'FATAL', 'C': '53300', 'M': 'sorry'}
    """
    fields = (field.decode("utf-8", "backslashreplace") for field in body.split(b"\x00"))
    return {field[0]: field[1:] for field in fields if field}


def _text(value: str) -> bytes:
    return value.encode() + b"\x00"


def _sized(body: bytes) -> bytes:
    return struct.pack("!I", len(body) + 4) + body
