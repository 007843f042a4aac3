"""The network between two programs: a TCP line that can be made to swallow everything."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Line:
    """Listens on a free loopback port and passes bytes on to `port`, until it is cut.

    A line that is cut answers nothing and ends nothing, as a firewall does that drops packets: what
    was sent into it is lost, and new connections are never answered.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._whole = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def _serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        self._whole.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await stop.wait()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            # Whoever knocks while it is cut gets no answer, not even later.
            if self._whole.is_set():
                await self._join(reader, writer)
            else:
                await asyncio.Event().wait()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [
            asyncio.ensure_future(self._pass_on(reader, far_writer)),
            asyncio.ensure_future(self._pass_on(far_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            far_writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not self._whole.is_set():
                    # A packet was lost for good: this connection never works again, and ends
                    # for both sides when the line is whole, as keepalives would have it.
                    await self._whole.wait()
                    return
                writer.write(data)
                await writer.drain()

    def cut(self) -> None:
        """Swallow everything from now on."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        """Let new connections through again; those that lost something end."""
        self._loop.call_soon_threadsafe(self._whole.set)

    @contextlib.contextmanager
    def up(self) -> Iterator[Line]:
        """The line, until the block ends."""
        started, stop = threading.Event(), asyncio.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self._serve(started, stop))
            self._loop.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        assert started.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            thread.join(10)
