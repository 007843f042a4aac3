"""What `bench/run.py` found, as figures with their targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean, median

from bench.measures import Latency, Peer, Polls
from bench.report import Figure
from bench.setting import CALM, State

TARGET_RATIO, TARGET_OWN_MS, TARGET_P99_MS, TARGET_MIB = 2.5, 5.0, 3.0, 75.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found of one state of the server."""

    state: State
    polls: Polls
    scrapes: Latency
    memory: tuple[float, float]
    peer: Peer | None


@dataclass(frozen=True, slots=True)
class Worst:
    """What was found with no two clients alike."""

    polls: Polls
    scrapes: Latency


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that one run found."""

    calm: Watched
    busy: Watched
    worst: Worst
    circumstances: tuple[str, ...]


def figures(found: Measured) -> list[Figure]:
    """All lines of the table."""
    worst = found.worst
    held = [*found.calm.polls.held, *found.busy.polls.held]
    return [
        *_of_state(found.calm),
        *_of_state(found.busy),
        Figure.below(
            "resident memory",
            found.busy.memory[0],
            TARGET_MIB,
            "MiB",
            f"peak {found.busy.memory[1]:.1f} MiB",
        ),
        Figure(
            "connections held",
            "1",
            f"{median(held):.0f} (at most {max(held)} seen)",
            median(held) == 1,
        ),
        Figure(
            "no two clients alike: own CPU per poll",
            "",
            f"{median(worst.polls.own):.1f} ms, in Postgres {median(worst.polls.backend):.2f} ms"
            f" ({worst.polls.ratio:.1f} times `count(*)`)",
        ),
        Figure(
            "no two clients alike: `/metrics`",
            "",
            f"p99 {worst.scrapes.p99:.1f} ms, {worst.scrapes.size // 1024} KiB;"
            f" right after a poll {median(worst.polls.scrape_wall):.1f} ms",
        ),
    ]


def _of_state(found: Watched) -> list[Figure]:
    """The figures that have the same targets whatever the state."""
    polls, when = found.polls, found.state.words
    return [
        Figure.below(
            f"{when}: Postgres CPU per poll, of `count(*)`",
            polls.ratio,
            TARGET_RATIO,
            "times",
            f"{median(polls.backend):.2f} ms to {median(polls.count):.2f} ms",
        ),
        Figure.below(
            f"{when}: own CPU per poll, default rules",
            median(polls.own),
            TARGET_OWN_MS,
            "ms",
            f"mean {fmean(polls.own):.1f} ms with probes and slow reads",
        ),
        _p99(found),
        Figure.below(
            f"{when}: `/metrics` right after a poll, median",
            median(polls.scrape_wall),
            TARGET_P99_MS,
            "ms",
            f"{fmean(polls.scrape):.1f} ms of CPU, {found.scrapes.size // 1024} KiB",
        ),
        *_comparison(found),
    ]


def _p99(found: Watched) -> Figure:
    """Without a verdict where the machine alone takes as long as is allowed."""
    scrapes = found.scrapes
    note = f"p50 {scrapes.p50:.2f} ms; `/healthz` p99 {scrapes.floor:.1f} ms"
    name = f"{found.state.words}: `/metrics` p99"
    figure = Figure.below(name, scrapes.p99, TARGET_P99_MS, "ms", note)
    if figure.ok or scrapes.floor < TARGET_P99_MS:
        return figure
    return replace(figure, measured=f"{figure.measured}: the machine is too busy to tell", ok=None)


def _comparison(found: Watched) -> list[Figure]:
    """Both sides for a minute; polls every second are dearer than what is asked of those at 2 s."""
    polls, peer, state = found.polls, found.peer, found.state
    ours = polls.own_per_minute + polls.postgres_per_minute
    parts = f"own {polls.own_per_minute:.0f} ms, Postgres {polls.postgres_per_minute:.0f} ms"
    name = f"{state.words}: CPU per minute, both sides, polls every {state.interval:.0f} s"
    if peer is None:
        return [Figure(name, "", f"{ours:.0f} ms ({parts})")]
    figure = Figure.below(name, ours, peer.per_minute, "ms", parts)
    return [
        figure if state is CALM else replace(figure, target="", ok=None),
        Figure(
            f"{state.words}: postgres_exporter, scraped every 5 s",
            "",
            f"{peer.per_minute:.0f} ms; per scrape own {peer.own:.1f} ms, Postgres"
            f" {peer.postgres:.1f} ms, {peer.wall:.0f} ms to answer; {peer.rss:.0f} MiB",
        ),
    ]
