"""What is measured of the watchers: CPU time by the kernel's count, interleaved in one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles

from bench.procfs import cpu_ms, memory_mib, reaped_ms
from bench.setting import Program, Session, scrape

COUNT = "SELECT count(*) FROM pg_stat_get_activity(NULL)"
HELD = "select count(*) from pg_stat_activity where usename = %s"
PEER_INTERVAL_SECONDS = 5.0
BATCHES, BATCH_PAUSE_SECONDS = 10, 0.7
_LOOK_SECONDS, _QUIET_SECONDS, _POLL_SECONDS = 0.02, 0.2, 30.0
Progress = Callable[[str], None]


@dataclass
class Polls:
    """Rounds of one poll of pgheadroom, one count(*) on a kept session, and one scrape.

    CPU is in milliseconds. `own` is all that pgheadroom's process did from the end of one poll to
    the end of the next, less the scrape.
    """

    backend: list[float] = field(default_factory=list)
    """Of our session's backend, per poll."""
    count: list[float] = field(default_factory=list)
    """Of the other session's backend, per count(*)."""
    own: list[float] = field(default_factory=list)
    scrape: list[float] = field(default_factory=list)
    """CPU of the process for a scrape that found a new poll to render."""
    scrape_wall: list[float] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    """Sessions that Postgres counted, the connect probe's included."""
    forked: float = 0.0
    """Of the postmaster and the sessions that ended meanwhile: the connect probes."""
    seconds: float = 0.0

    @property
    def ratio(self) -> float:
        """A poll's CPU in Postgres over that of count(*)."""
        return median(self.backend) / median(self.count)

    @property
    def own_per_minute(self) -> float:
        """Of the process, with scrapes as often as the peer's."""
        scrapes = 60 / PEER_INTERVAL_SECONDS * fmean(self.scrape)
        return sum(self.own) / self.seconds * 60 + scrapes

    @property
    def postgres_per_minute(self) -> float:
        """Of our backend, and of all that came and went."""
        return (sum(self.backend) + self.forked) / self.seconds * 60


@dataclass(frozen=True, slots=True)
class Stage:
    """Whom to look at: processes, and a session for counting and asking."""

    program: Program
    backend: int
    postmaster: int
    session: Session
    interval: float
    """Seconds between polls."""

    def forked(self) -> float:
        """CPU of the postmaster and of every backend that has ended, in milliseconds."""
        return cpu_ms(self.postmaster) + reaped_ms(self.postmaster)


def measure_polls(stage: Stage, rounds: int, progress: Progress) -> Polls:
    """`rounds` polls, as they come."""
    polls, line = Polls(), stage.program.line()
    _next_poll(stage)
    began, forked = time.monotonic(), stage.forked()
    own, backend = cpu_ms(stage.program.pid), cpu_ms(stage.backend)
    for turn in range(1, rounds + 1):
        # Midway between two polls, as far from warm caches as those are from one another.
        time.sleep(stage.interval / 3)
        polls.count.append(_count(stage.session))
        held = stage.session.execute(HELD, ("pgheadroom",)).fetchone()
        polls.held.append(int(str(held[0])) if held else 0)
        _next_poll(stage)
        polls.own.append(-own + (own := cpu_ms(stage.program.pid)))
        polls.backend.append(-backend + (backend := cpu_ms(stage.backend)))
        polls.scrape_wall.append(scrape(line)[0])
        time.sleep(_LOOK_SECONDS)
        polls.scrape.append(-own + (own := cpu_ms(stage.program.pid)))
        progress(f"poll {turn} of {rounds}")
    polls.seconds, polls.forked = time.monotonic() - began, stage.forked() - forked
    line.close()
    return polls


def _count(session: Session) -> float:
    """CPU in Postgres of one count(*)."""
    pid = session.info.backend_pid
    before = cpu_ms(pid)
    session.execute(COUNT, prepare=True).fetchall()
    # The backend tidies up after it has answered.
    time.sleep(_LOOK_SECONDS)
    return cpu_ms(pid) - before


def _next_poll(stage: Stage) -> None:
    """Return when our backend has worked and rested again, the process after it too."""
    seen, since = cpu_ms(stage.backend), time.monotonic()
    worked, until = False, since + _POLL_SECONDS
    while time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        now = cpu_ms(stage.backend)
        if now != seen:
            seen, since, worked = now, time.monotonic(), True
        elif worked and time.monotonic() - since > _QUIET_SECONDS:
            return
    raise TimeoutError(f"pgheadroom did not poll for {_POLL_SECONDS:.0f} s")


@dataclass(frozen=True, slots=True)
class Latency:
    """Of scrapes on a kept connection: milliseconds as the reader sees them, in the median batch.

    Batches, because a moment in which the machine does something else says nothing of the server.
    """

    p50: float
    p99: float
    floor: float
    """The p99 of /healthz, asked in turn with /metrics: what the machine itself adds."""
    size: int


def measure_scrapes(program: Program, number: int) -> Latency:
    """`number` scrapes while polls go on, in batches with a pause between them."""
    batches = []
    for _ in range(BATCHES):
        time.sleep(BATCH_PAUSE_SECONDS)
        batches.append(_batch(program, number // BATCHES))
    p50, p99, floor, size = (median(column) for column in zip(*batches, strict=True))
    return Latency(p50, p99, floor, round(size))


def _batch(program: Program, number: int) -> tuple[float, float, float, float]:
    line, walls, floors, size = program.line(), list[float](), list[float](), 0
    for _ in range(number):
        wall, size = scrape(line)
        walls.append(wall)
        floors.append(scrape(line, "/healthz")[0])
    line.close()
    return *_percentiles(walls), _percentiles(floors)[1], float(size)


def _percentiles(walls: list[float]) -> tuple[float, float]:
    cuts = quantiles(walls, n=100, method="inclusive")
    return cuts[49], cuts[98]


@dataclass(frozen=True, slots=True)
class Peer:
    """postgres_exporter under scrapes: CPU per scrape in milliseconds, latency, memory in MiB."""

    own: float
    postgres: float
    wall: float
    rss: float
    per_minute: float


def measure_peer(program: Program, postmaster: int, scrapes: int, progress: Progress) -> Peer:
    """`scrapes` at an interval of 5 s.

    Each makes a new connection to Postgres, so that its cost is in what the postmaster reaps.
    """
    line = program.line()
    scrape(line)

    def forked() -> float:
        return cpu_ms(postmaster) + reaped_ms(postmaster)

    own, walls, began = cpu_ms(program.pid), list[float](), time.monotonic()
    postgres = forked()
    for turn in range(1, scrapes + 1):
        walls.append(scrape(line)[0])
        progress(f"postgres_exporter: scrape {turn} of {scrapes}")
        time.sleep(max(0.0, began + turn * PEER_INTERVAL_SECONDS - time.monotonic()))
    own, postgres = cpu_ms(program.pid) - own, forked() - postgres
    minutes = (time.monotonic() - began) / 60
    line.close()
    return Peer(
        own / scrapes,
        postgres / scrapes,
        median(walls),
        memory_mib(program.pid)[0],
        (own + postgres) / minutes,
    )
