"""`/`: one page for people, without scripts, that says in ten seconds how things stand."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from exporter.alerting.board import Entry
from exporter.alerting.message import describe
from exporter.alerting.notification import Situation
from exporter.alerting.silences import SilenceState
from exporter.alerting.words import duration_words, percent, role_words
from exporter.web.api import port_of
from exporter.web.parts import alerts, failure, heading, level_of, table
from exporter.web.pooler_page import pooler
from exporter.web.port import DeadRow, DeliveryRow, Port, Silencer

REFRESH_SECONDS = 5
#: Far above any interval.
_OLD_SECONDS = 30
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--ok:#2e7d32;--warning:#b26a00;--critical:#c62828}
body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem;
overflow-wrap:anywhere}
.wide{overflow-x:auto}
h1{font-size:1.2rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
.bar{height:1.1rem;border:1px solid var(--line);border-radius:4px;overflow:hidden;margin:.3rem 0}
.bar i{display:block;height:100%;background:var(--ok)}
.warning i{background:var(--warning)}.critical i{background:var(--critical)}
.tag{color:#fff;border-radius:4px;padding:.05rem .45rem;background:var(--ok);font-size:.85rem}
.tag.warning{background:var(--warning)}.tag.critical{background:var(--critical)}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
td,th{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid var(--line)}
th{overflow-wrap:normal}
td.n,th.n{text-align:right}small,.quiet{opacity:.75}
"""


async def page(request: Request) -> Response:
    """The page."""
    return HTMLResponse(html(port_of(request)))


def html(port: Port) -> str:
    """The page's text; every name in it is escaped, clients choose them."""
    now = port.clock()
    servers = "".join(_server(entry, now) for entry in port.board)
    poolers = "".join(pooler(entry, now) for entry in port.board.poolers)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>pgheadroom</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><style>{_STYLE}</style></head>'
        f"<body><h1>pgheadroom <small>{escape(port.version)}</small></h1>{servers}{poolers}"
        f"{_state(port.state_trouble())}{_deliveries(port.deliveries())}"
        f"{_dead(port.dead(), now)}"
        f"{alerts(port.own_book())}{_silences(port.silencer)}"
        '<p class="quiet"><a href="/metrics">/metrics</a> · '
        '<a href="/api/v1/alerts">/api/v1/alerts</a> · '
        '<a href="/api/v1/holders">/api/v1/holders</a> · '
        '<a href="/api/v1/silences">/api/v1/silences</a></p></body></html>'
    )


def _silences(silencer: Silencer | None) -> str:
    """The silences that hold or are to come."""
    if silencer is None:
        return ""
    rows, now = [], silencer.now
    for each in silencer.listed():
        state = each.state(now)
        if state is not SilenceState.EXPIRED:
            left = duration_words(each.ends_at - now)
            matchers = ", ".join(matcher.text for matcher in each.matchers)
            rows.append((each.id, state.value, left, matchers, each.author, each.comment))
    heads = ("silence", "state", "ends in", "matchers", "author", "comment")
    return f"<h2>Silences</h2>{table(heads, rows)}" if rows else ""


def _server(entry: Entry, now: float) -> str:
    situation = describe(entry.state, entry.before, now, top=10)
    parts = [heading(entry, entry.name), failure(entry, situation)]
    if situation.used is not None:
        parts += [
            _bar(situation, level_of(entry)),
            _facts(situation),
            _holders(situation),
            _blockers(situation),
        ]
    elif not situation.failure:
        parts.append("<p>not polled yet</p>")
    return "".join([*parts, alerts(entry.book, entry.state)])


def _bar(situation: Situation, level: str) -> str:
    used, usable = situation.used or 0, situation.usable or 1
    share = min(100.0, 100.0 * used / usable)
    return (
        f'<div class="bar {level}" role="img" aria-label="{percent(used, usable)} used">'
        f'<i style="width:{share:.1f}%"></i></div>'
    )


def _facts(situation: Situation) -> str:
    idle, age = situation.idle_transaction, situation.data_age_seconds or 0.0
    facts = [
        situation.arithmetic,
        situation.rate,
        situation.time_left,
        role_words(situation.top_role) if situation.top_role is not None else "",
        *situation.limits,
        ", ".join(f"{count} {state}" for state, count in situation.states.items()),
        f"{situation.waiting} waiting" if situation.waiting else "",
        f"oldest idle transaction {duration_words(idle.seconds)}"
        f" (pid {idle.pid}, {idle.application_name or idle.usename})"
        if idle
        else "",
        f"data is {duration_words(age)} old" if situation.failure or age > _OLD_SECONDS else "",
    ]
    return f"<p>{escape(' · '.join(fact for fact in facts if fact))}</p>"


def _blockers(situation: Situation) -> str:
    """Whom others wait for; a pid of 0 is a prepared transaction."""
    if not situation.blockers:
        return ""
    rows = (
        (each.pid or "prepared transaction", each.application_name or "-", each.usename,
         each.datname, each.state,
         "" if each.state_seconds is None else duration_words(each.state_seconds), each.blocked)
        for each in situation.blockers
    )  # fmt: skip
    heads = ("blocked by pid", "application", "role", "database", "state", "for", "blocks")
    return table(heads, rows)


def _holders(situation: Situation) -> str:
    rows = (
        (holder.application_name or "-", holder.usename, holder.datname, holder.used,
         f"{holder.grown:+d}" if holder.grown else "")
        for holder in situation.holders
    )  # fmt: skip
    window = duration_words(situation.growth_window_seconds)
    return table(("application", "role", "database", "slots", f"in {window}"), rows)


def _state(trouble: str) -> str:
    """What is wrong with what should survive a restart."""
    return f"<p><strong>State: {escape(trouble)}</strong></p>" if trouble else ""


def _deliveries(rows: Iterable[DeliveryRow]) -> str:
    cells = [(row.receiver, row.delivered, row.pending, row.dead, row.last_error) for row in rows]
    if not cells:
        return "<p><strong>No receiver is configured: nobody will be told.</strong></p>"
    heads = ("receiver", "delivered", "pending", "given up", "last error")
    return f"<h2>Notifications</h2>{table(heads, cells)}"


def _dead(rows: Iterable[DeadRow], now: float) -> str:
    """What a receiver did not take: somebody has to read it here."""
    cells = [
        (f"{duration_words(now - row.at)} ago", row.receiver, row.headline, row.reason)
        for row in rows
    ]
    heads = ("given up", "receiver", "notification", "reason")
    return f"<h2>Given up</h2>{table(heads, cells)}" if cells else ""
