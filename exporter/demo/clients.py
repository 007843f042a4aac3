"""A product launch: ever more clients connect to Postgres, hold on, and retry when refused.

They speak the protocol themselves, so that 240 of them fit into one event loop and a refusal is
timed on the byte that brought it. Acceptance tests and the bench replay the same launch.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from exporter.demo import wire

CALM_APPLICATIONS = ("shop-web", "shop-web", "shop-web", "order-worker", "shop-web", "nightly-cron")
"""Who is connected on an ordinary day, in turn."""
LAUNCH_APPLICATIONS = ("checkout-lambda",) * 5 + ("shop-web",) + ("checkout-lambda",) * 3
"""Who comes with the launch, in turn: one function container after the other."""
_IDLE_TRANSACTION_EVERY = 24
_BUSY_EVERY = 5


class Refused(Exception):  # noqa: N818  the server's word for it, and no error of ours
    """The server answered a login with an ErrorResponse."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate
        self.message = message


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login refused for want of a slot, at `at` on the monotonic clock."""

    at: float
    sqlstate: str
    message: str


class Connection:
    """One session of a client that trusts and is trusted: no TLS, no password."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = wire.Decoder()

    @classmethod
    async def open(cls, host: str, port: int, **parameters: str) -> Connection:
        """Log in with the startup parameters `user`, `database`, `application_name`.

        Raises:
            Refused: the server said no; the SQLSTATE tells why.
            OSError: nobody listens, or the line broke.
            wire.ProtocolError: something else than Postgres answers, or it wants a password.
        """
        reader, writer = await asyncio.open_connection(host, port)
        connection = cls(reader, writer)
        try:
            await connection._send(wire.startup(**parameters))
        except BaseException:  # a cancelled login too must not leave its socket behind
            writer.close()
            raise
        return connection

    async def query(self, sql: str) -> None:
        """Run `sql` and drop what it returns. Raises like `open`."""
        await self._send(wire.query(sql))

    async def ended(self) -> None:
        """Return when the server has ended the session; what it sends meanwhile is dropped."""
        while await self._reader.read(4096):
            pass

    def close(self) -> None:
        """Say goodbye, so that the backend leaves at once, and close the socket."""
        if not self._writer.is_closing():
            self._writer.write(wire.TERMINATE)
        self._writer.close()

    async def _send(self, message: bytes) -> None:
        """Send `message` and read until the server is ready for another."""
        self._writer.write(message)
        while data := await self._reader.read(4096):
            if any(self._is_ready(answer) for answer in self._decoder.feed(data)):
                return
        raise ConnectionResetError("the server closed the connection")

    @staticmethod
    def _is_ready(answer: wire.Message) -> bool:
        if answer.type == "E":
            fields = wire.error_fields(answer.body)
            raise Refused(fields.get("C", ""), fields.get("M", ""))
        if answer.type == "R" and answer.body != b"\x00\x00\x00\x00":
            raise wire.ProtocolError("the server wants a password; the launch needs trust")
        return answer.type == "Z"


@dataclass
class Launch:
    """`start` clients that become `end` within `ramp_seconds`, each holding its connection.

    A refused client tries again every `retry_seconds`. Most held ones are idle; every fifth runs
    `select 1` each `busy_seconds`, and four at most sit idle in transaction, fewer than any default
    rule minds. Lives in one event loop: `open`, `ramp`, `close`.
    """

    host: str
    port: int
    start: int = 8
    end: int = 240
    ramp_seconds: float = 90.0
    retry_seconds: float = 2.0
    busy_seconds: float = 1.0
    idle_transactions: int = 4
    user: str = "app"
    database: str = "postgres"

    began: float | None = field(default=None, init=False)
    """When the ramp began, on the monotonic clock."""
    held: int = field(default=0, init=False)
    """Connections that are open now."""
    wanted: int = field(default=0, init=False)
    """Clients that have come so far; those not held are waiting to try again."""
    refusals: int = field(default=0, init=False)
    """Logins refused with SQLSTATE 53300 so far, retries included."""
    failures: int = field(default=0, init=False)
    """Logins and sessions that failed for any other reason."""
    first_refusal: Refusal | None = field(default=None, init=False)
    curve: list[tuple[float, int]] = field(default_factory=list, init=False)
    """(monotonic time, held) at every change."""
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end or self.ramp_seconds <= 0:
            raise ValueError("a launch needs 0 <= start <= end and ramp_seconds above 0")

    async def open(self, deadline: float = 10.0) -> None:
        """Connect the `start` clients of an ordinary day.

        Raises:
            TimeoutError: they were not all in after `deadline` seconds.
        """
        for _ in range(self.start):
            self._come()
        async with asyncio.timeout(deadline):
            while self.held < self.start:  # noqa: ASYNC110  sessions may end as well as begin
                await asyncio.sleep(0.01)

    async def ramp(self) -> None:
        """Let the others come, evenly over `ramp_seconds`; returns when the last has come."""
        self.began = began = time.monotonic()
        interval = self.ramp_seconds / max(1, self.end - self.start)
        for turn in range(1, self.end - self.start + 1):
            await asyncio.sleep(began + turn * interval - time.monotonic())
            self._come()

    async def refused(self) -> Refusal:
        """Wait for the first refusal."""
        while self.first_refusal is None:  # noqa: ASYNC110  one waiter, and the time is taken elsewhere
            await asyncio.sleep(0.01)
        return self.first_refusal

    async def close(self) -> None:
        """End every client; the launch is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def application_name(self, number: int) -> str:
        """What client `number`, counted from 0, calls itself."""
        if number < self.start:
            return CALM_APPLICATIONS[number % len(CALM_APPLICATIONS)]
        return LAUNCH_APPLICATIONS[(number - self.start) % len(LAUNCH_APPLICATIONS)]

    def _come(self) -> None:
        self._tasks.append(asyncio.create_task(self._client(self.wanted)))
        self.wanted += 1

    async def _client(self, number: int) -> None:
        while True:
            try:
                await self._session(number)
            except Refused as refused:
                self._note(refused)
            except (OSError, wire.ProtocolError):
                self.failures += 1
            await asyncio.sleep(self.retry_seconds)

    async def _session(self, number: int) -> None:
        connection = await Connection.open(
            self.host,
            self.port,
            user=self.user,
            database=self.database,
            application_name=self.application_name(number),
        )
        try:
            self._holding(1)
            await self._hold(number, connection)
        finally:
            self._holding(-1)
            connection.close()

    async def _hold(self, number: int, connection: Connection) -> None:
        come = number - self.start
        turn, phase = divmod(come, _IDLE_TRANSACTION_EVERY)
        if 0 <= turn < self.idle_transactions and phase == _IDLE_TRANSACTION_EVERY // 2:
            await connection.query("begin; select 1")
        elif come % _BUSY_EVERY == 0:
            await self._be_busy(connection)
        await connection.ended()
        raise ConnectionResetError("the server ended the session")

    async def _be_busy(self, connection: Connection) -> None:
        while True:
            await connection.query("select 1")
            await asyncio.sleep(self.busy_seconds)

    def _holding(self, change: int) -> None:
        self.held += change
        self.curve.append((time.monotonic(), self.held))

    def _note(self, refused: Refused) -> None:
        if refused.sqlstate != wire.TOO_MANY_CONNECTIONS:
            self.failures += 1
            return
        self.refusals += 1
        if self.first_refusal is None:
            self.first_refusal = Refusal(time.monotonic(), refused.sqlstate, refused.message)
