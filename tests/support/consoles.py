"""A console that answers what a test wants: other products, broken commands, half of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Mapping, Sequence

#: https://www.postgresql.org/docs/current/catalog-pg-type.html, the type `text`.
_TEXT = 25
#: An answer that comes later than tests have patience.
WAIT, WAIT_SECONDS = "wait", 0.5
#: A command's answer: its columns and rows, the text of an error, or None: the line is cut there.
Answer = tuple[Sequence[str], Sequence[Sequence[bytes | None]]] | str | None


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _error(text: str) -> bytes:
    fields = b"".join(
        code + value.encode() + b"\0"
        for code, value in ((b"S", "ERROR"), (b"V", "ERROR"), (b"C", "08P01"), (b"M", text))
    )
    return _message(b"E", fields + b"\0")


def _rows(columns: Sequence[str], rows: Sequence[Sequence[bytes | None]]) -> bytes:
    described = b"".join(
        name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, _TEXT, -1, -1, 0) for name in columns
    )
    parts = [_message(b"T", struct.pack("!h", len(columns)) + described)]
    for row in rows:
        values = b"".join(
            struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
            for value in row
        )
        parts.append(_message(b"D", struct.pack("!h", len(row)) + values))
    return b"".join(parts) + _message(b"C", b"SHOW\0")


@contextlib.asynccontextmanager
async def fake_console(
    answers: Mapping[str, Answer], server_version: str = "1.24.1/bouncer"
) -> AsyncIterator[str]:
    """The DSN of a console; a command that is not in `answers` is an invalid one."""

    lines: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        lines.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await _talk(reader, writer, answers, server_version)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    service = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = service.sockets[0].getsockname()[1]
    async with service:
        yield f"host=127.0.0.1 port={port} user=stats sslmode=disable gssencmode=disable"
        if lines:
            # Every client has gone by now, which ends the line to it.
            await asyncio.wait(lines, timeout=5)


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answers: Mapping[str, Answer],
    server_version: str,
) -> None:
    await reader.readexactly(struct.unpack("!i", await reader.readexactly(4))[0] - 4)
    status = f"server_version\0{server_version}\0".encode()
    ready = _message(b"Z", b"I")
    writer.write(_message(b"R", struct.pack("!i", 0)) + _message(b"S", status) + ready)
    await writer.drain()
    while (kind := await reader.readexactly(1)) != b"X":
        length = struct.unpack("!i", await reader.readexactly(4))[0]
        command = (await reader.readexactly(length - 4)).rstrip(b"\0").decode(errors="replace")
        if kind != b"Q":
            writer.write(_error("extended query protocol not supported by admin console") + ready)
            continue
        answer = answers.get(command, f"invalid command '{command}', use SHOW HELP;")
        if answer == WAIT:
            await asyncio.sleep(WAIT_SECONDS)
            answer = ((), ())
        if answer is None:
            writer.write(_message(b"T", b"")[:3])
            await writer.drain()
            return
        writer.write((_error(answer) if isinstance(answer, str) else _rows(*answer)) + ready)
