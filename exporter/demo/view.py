"""What the terminal shows while the launch runs: a live picture, or a line every few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from exporter.demo.timeline import CRITICAL, HIGH, Event
from exporter.demo.watcher import Reading

PLAIN_SECONDS = 3.0
"""How often a line is printed where the terminal cannot redraw, in seconds."""
_WIDEST_BAR = 97
_BESIDE_BAR = 14


@dataclass(frozen=True, slots=True)
class Frame:
    """One moment of the demo. `seconds` count from the launch's beginning; below 0 it is calm."""

    seconds: float
    ramp_seconds: float
    used: int
    usable: int
    held: int
    wanted: int
    refusals: int
    reading: Reading
    events: tuple[Event, ...] = ()

    @property
    def phase(self) -> str:
        """What is going on, in a few words."""
        if self.seconds < 0:
            return f"calm, the launch begins in {-self.seconds:.0f} s"
        return f"launch, {self.seconds:.0f} s of {self.ramp_seconds:.0f} s"

    @property
    def clients(self) -> str:
        """Who is in and who is not, in a few words."""
        waiting = max(0, self.wanted - self.held)
        return f"clients: {self.held} held, {waiting} waiting; {self.refusals} refusals so far"

    @property
    def own_view(self) -> str:
        """What pgheadroom says itself, in a few words."""
        seen = self.reading
        if seen.used is None or seen.used_ratio is None:
            return "pgheadroom: no answer"
        text = f"pgheadroom: {seen.used:.0f} used, {seen.used_ratio:.0%}"
        if not seen.up:
            return f"{text} (old: it cannot poll)"
        if seen.forecast_seconds is None:
            return f"{text}, no forecast"
        return f"{text}, full in {seen.forecast_seconds:.0f} s"


class PlainView:
    """Lines for a log: every event at once, and a line of progress every `every` seconds."""

    def __init__(self, console: Console, every: float = PLAIN_SECONDS) -> None:
        self._console = console
        self._every = every
        self._last: float | None = None
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the lines where they are."""

    def show(self, frame: Frame) -> None:
        """Print what is new since the last frame."""
        for event in frame.events:
            if event.name not in self._told:
                self._told.add(event.name)
                _print(self._console, f"{event.seconds:6.1f} s  * {event.name}")
        if self._last is not None and frame.seconds - self._last < self._every:
            return
        self._last = frame.seconds
        _print(
            self._console,
            f"{frame.seconds:6.1f} s  {frame.used} of {frame.usable} slots used;"
            f" {frame.clients}; {frame.own_view}",
        )


class LiveView:
    """A picture that is drawn again with every frame, and gives way to the report."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, frame: Frame) -> None:
        """Draw `frame` over the one before."""
        self._live.update(picture(frame, self._live.console), refresh=True)


def view_for(console: Console) -> LiveView | PlainView:
    """A live picture on a terminal that can redraw, lines elsewhere."""
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(console)
    return PlainView(console)


def picture(frame: Frame, console: Console) -> RenderableType:
    """The whole picture of `frame`, as wide as `console` allows."""
    width = max(10, min(_WIDEST_BAR, console.width - _BESIDE_BAR))
    ascii_only = not console.encoding.lower().startswith("utf")
    lines: list[RenderableType] = [
        Text(frame.phase, style="bold"),
        Text.assemble(
            bar(frame.used, frame.usable, width, ascii_only=ascii_only),
            f" {frame.used} of {frame.usable}",
        ),
        Text(_marks(width), style="dim"),
        Text(frame.clients),
        Text(frame.own_view, style="cyan"),
    ]
    if frame.events:
        lines.append(events_table(frame.events))
    return Group(*lines)


def bar(used: int, usable: int, width: int, *, ascii_only: bool = False) -> Text:
    """`used` of `usable` as a bar of `width` cells, with a mark at 70 % and at 85 %."""
    full, empty, mark = "#-|" if ascii_only else "█░│"
    filled = min(width, round(width * used / usable)) if usable > 0 else 0
    ratio = used / usable if usable > 0 else 0.0
    style = "red" if ratio >= CRITICAL else "yellow" if ratio >= HIGH else "green"
    text = Text()
    for cell in range(width):
        if cell in (int(width * HIGH), int(width * CRITICAL)):
            text.append(mark, "bold")
        else:
            text.append(full if cell < filled else empty, style if cell < filled else "dim")
    return text


def _marks(width: int) -> str:
    """The figures below the marks of a bar."""
    high, critical = int(width * HIGH), int(width * CRITICAL)
    return " " * (high - 1) + "70" + " " * max(1, critical - high - 2) + "85 %"


def events_table(events: tuple[Event, ...]) -> Table:
    """Events with their seconds after the launch began, and the slots taken then."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("seconds", justify="right")
    table.add_column("slots", justify="right")
    table.add_column("event")
    for event in events:
        style = "bold red" if "refused" in event.name else "bold" if "page" in event.name else ""
        table.add_row(f"{event.seconds:.1f}", str(event.used), event.name, style=style)
    return table


def _print(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
