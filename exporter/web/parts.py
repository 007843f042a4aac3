"""Parts of the page that servers and poolers share; every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from exporter.alerting.alerter import Book
from exporter.alerting.alerts import Alert
from exporter.alerting.board import Entry, PoolerEntry
from exporter.alerting.causes import summary_of
from exporter.alerting.notification import Severity, Situation
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState


def heading(entry: Entry | PoolerEntry, title: str) -> str:
    """The name, and one word for how things stand."""
    level = level_of(entry)
    word = level or ("ok" if entry.state.up else "not seen")
    return f'<h2>{escape(title)} <span class="tag {level}">{word}</span></h2>'


def failure(entry: Entry | PoolerEntry, situation: Situation) -> str:
    """Why polls fail, and where they go: an address is for this page, not for notifications."""
    if entry.state.failure is None:
        return ""
    tried = entry.state.failure.tried
    return f"<p>{escape(f'{tried}: ' if tried else '')}{escape(situation.failure)}</p>"


def level_of(entry: Entry | PoolerEntry) -> str:
    """The highest severity that fires, "" below warning."""
    severities = [a.severity for a in entry.book.alerts.values() if a.fired_at is not None]
    highest = max(severities, key=lambda severity: severity.rank, default=None)
    return highest.value if highest is not None and highest is not Severity.INFO else ""


def alerts(book: Book, state: ServerState | PoolerState | None = None) -> str:
    """The pending and firing alerts; those about pgheadroom itself have no `state`.

    Among equals the rule that stands first, as in messages: it says what has already happened.
    """
    found = sorted(book.alerts.values(), key=lambda a: (-a.severity.rank, a.state.value))
    if not found:
        return ""
    rows = (
        (alert.rule, alert.severity.value, _state(alert), _summary(alert, state)) for alert in found
    )
    return table(("alert", "severity", "state", "summary"), rows)


def _summary(alert: Alert, state: ServerState | PoolerState | None) -> str:
    return alert.annotations.get("summary", "") if state is None else summary_of(alert, state)


def _state(alert: Alert) -> str:
    """Pending or firing, and why nobody is told."""
    return f"{alert.state.value}, {alert.muted_by}" if alert.muted_by else alert.state.value


def table(heads: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A table; columns of whole numbers stand to the right, as their heads do.

    One that is wider than a telephone scrolls by itself, not the page.
    """
    cells = [[_cell("td", value, number=isinstance(value, int)) for value in row] for row in rows]
    numeric = [cell.startswith('<td class="n"') for cell in cells[0]] if cells else []
    head = "".join(
        _cell("th", text, number=index < len(numeric) and numeric[index])
        for index, text in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _cell(tag: str, value: object, *, number: bool) -> str:
    kind = ' class="n"' if number else ""
    return f"<{tag}{kind}>{escape(str(value))}</{tag}>"
