"""What the demo says at its end: the timeline, the verdict, and the page's own text."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from exporter.demo.receiver import Received
from exporter.demo.timeline import Timeline, Verdict
from exporter.demo.view import events_table

_WIDEST = 100


def print_report(
    console: Console, timeline: Timeline, messages: Sequence[Received], speed: float = 1.0
) -> None:
    """Print the timeline, the verdict with the lead, and the first page as its readers saw it."""
    console.print()
    console.print(Text("Timeline", style="bold"), Text(f"({timeline.usable} usable slots)"))
    console.print(events_table(timeline.events))
    console.print()
    for number, sentence in enumerate(verdict_sentences(timeline, speed)):
        good = timeline.verdict is Verdict.PAGED_FIRST
        style = ("bold green" if good else "bold red") if number == 0 else ""
        console.print(Text(sentence, style=style))
    for received in first_texts(messages):
        _print_message(console, received)


def verdict_sentences(timeline: Timeline, speed: float = 1.0) -> list[str]:
    """The verdict with its figures; at another speed, what that is at the launch's own."""
    lead = timeline.lead
    if timeline.verdict is Verdict.NOT_PAGED:
        return ["Nobody was paged."]
    if timeline.verdict is Verdict.NOT_REFUSED:
        return ["The page came, but no client was refused: there was nothing to be early for."]
    if timeline.verdict is Verdict.FALSE_ALARM:
        return ["A page came before the launch began: a false alarm."]
    if lead is None:  # pragma: no cover  the two verdicts that are left have a lead
        return []
    place = "before" if timeline.verdict is Verdict.PAGED_FIRST else "after"
    sentences = [f"Paged {abs(lead):.1f} s {place} the first refused client."]
    if speed != 1:
        sentences.append(
            f"Everything ran {speed:g} times faster: that is {abs(lead) * speed:.1f} s"
            " at the launch's own speed."
        )
    return sentences


def first_texts(messages: Sequence[Received]) -> list[Received]:
    """The first page, and the Slack message that came closest to it; without a page, the first."""
    page = next((message for message in messages if message.is_page), None)
    slack = [message for message in messages if message.receiver == "slack"]
    if page is None:
        return slack[:1]
    return [*sorted(slack, key=lambda message: abs(message.at - page.at))[:1], page]


def _print_message(console: Console, received: Received) -> None:
    name = "Slack" if received.receiver == "slack" else "PagerDuty, on the telephone"
    panel = Panel(
        Text(received.text),
        title=Text(name),
        title_align="left",
        box=box.ROUNDED,
        width=min(console.width, _WIDEST),
    )
    console.print()
    console.print(panel)
