"""From what psycopg, libpq, Postgres or PgBouncer says to why an attempt failed.

Errors while connecting carry no SQLSTATE in psycopg, only text, so the text decides; errors of a
statement have one. The texts were collected from PostgreSQL 13 to 18, PgBouncer 1.18 to 1.26 and
psycopg 3.3.9 (tests/data/connect_errors.json); managed services append to some of them, so patterns
match the beginning. Servers send them in the language of their `lc_messages`: what no table knows
is a matter of slots where few were left (`NEARLY_FULL`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from psycopg import errors

from exporter.snapshot.server import Failure, Reason
from exporter.sources.refusals import GERMAN, TABLE

#: From this share of the usable slots on, a refusal in unknown words is taken for a full server.
NEARLY_FULL = 0.90
_LONGEST_MESSAGE = 300
#: How psycopg begins the list of all that it tried.
_SEVERAL = "Multiple connection attempts failed"

_PATTERNS = tuple(
    (re.compile(pattern), reason, hint) for pattern, reason, hint in (*TABLE, *GERMAN)
)

#: Of several addresses that were tried, the answer of a Postgres says more than a silent host.
_TELLING = (
    Reason.REFUSED,
    Reason.ROLE_LIMIT,
    Reason.DATABASE_LIMIT,
    Reason.STARTING,
    Reason.AUTH,
    Reason.TLS,
    Reason.POOLED,
    Reason.UNPRIVILEGED,
    Reason.ERROR,
    Reason.LATE,
    Reason.NETWORK,
)

#: SQLSTATEs and their classes (https://www.postgresql.org/docs/current/errcodes-appendix.html)
#: for statements, in any language; the longest match wins.
_SQLSTATES = {
    "08": Reason.NETWORK,
    "08P01": Reason.ERROR,
    "26000": Reason.POOLED,
    "28": Reason.AUTH,
    "42501": Reason.UNPRIVILEGED,
    "55P03": Reason.LATE,
    "57014": Reason.LATE,
    "57P01": Reason.STARTING,
    "57P02": Reason.STARTING,
    "57P03": Reason.STARTING,
}

#: PgBouncer repeats the server's last refusal in these words.
_CACHED = re.compile(r"server login (?:has been failing, cached error|failed): (?:[A-Z]+:? )?")
_ANSWER = re.compile(r"(?P<severity>[^:]{2,40}):  (?P<message>.*)", re.DOTALL)
_SECRETS = re.compile(r"(?i)(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)|(://[^:/@\s]*:)[^@\s]*(?=@)")


class SourceError(Exception):
    """An attempt to read a server or a pooler failed; `failure` says why, without secrets."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.reason}: {failure.message}")
        self.failure = failure


def classify(
    error: BaseException, *, used_ratio: float | None = None, secrets: Iterable[str] = ()
) -> Failure:
    """Why `error` happened.

    Args:
        error: what psycopg raised.
        used_ratio: the last known share of the usable slots in use. At 0.90 or more, a refusal in
            words that the table does not know counts as `refused`.
        secrets: texts that must not appear in the message.
    """
    failure = _by_type(error) or _by_text(_words(error), used_ratio)
    return Failure(failure.reason, redact(failure.message, secrets), failure.hint)


def _words(error: BaseException) -> str:
    """What `error` says; where the session's encoding spoilt it, as libpq has it in bytes."""
    text = str(error)
    raw = getattr(getattr(error, "pgconn", None), "error_message", b"")
    # Of several addresses only psycopg's own text has them all.
    if "\ufffd" not in text or _SEVERAL in text or not isinstance(raw, bytes):
        return text
    return raw.decode("utf-8", "backslashreplace") or text


def _by_type(error: BaseException) -> Failure | None:
    """What can be told from the class or the SQLSTATE; None where the text must decide."""
    if isinstance(error, errors.ConnectionTimeout | TimeoutError):
        return Failure(Reason.LATE, "no answer in time")
    state = getattr(error, "sqlstate", None) or ""
    reason = _SQLSTATES.get(state) or _SQLSTATES.get(state[:2])
    if reason is None:
        return None
    known = _by_text(str(error), None)
    return known if known.reason is not Reason.ERROR else Failure(reason, known.message, known.hint)


def _by_text(text: str, used_ratio: float | None) -> Failure:
    """The most telling line of `text`."""
    nearly_full = used_ratio is not None and used_ratio >= NEARLY_FULL
    found = [_failure(line, nearly_full) for line in text.splitlines() if _tells(line)]
    if not found:
        return Failure(Reason.ERROR, "an error without words")
    return min(found, key=lambda failure: _TELLING.index(failure.reason))


def _tells(line: str) -> bool:
    """Whether the line says something new; indented ones, DETAIL and HINT only explain."""
    aside = ("\t", "DETAIL:", "HINT:", _SEVERAL)
    return bool(line.strip()) and not line.startswith(aside)


def _failure(line: str, nearly_full: bool) -> Failure:  # noqa: FBT001  private
    """What one line says.

    libpq writes a server's message as "SEVERITY:  message", with two spaces, in every language.
    """
    line = line[max(0, line.rfind("connection to server")) :]
    tail = line.partition(" failed: ")[2] or line
    answer = _ANSWER.fullmatch(tail)
    message = _CACHED.sub("", answer["message"] if answer else tail).strip()
    # A server's answer stands alone; without one, it helps to know which address was silent.
    shown = message if answer else line
    for pattern, reason, hint in _PATTERNS:
        if pattern.match(message):
            return Failure(reason, shown, hint)
    return Failure(Reason.REFUSED if answer and nearly_full else Reason.ERROR, shown)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """One line of `text`, with `***` for each of `secrets` and for what looks like a password."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _SECRETS.sub(lambda found: f"{found[1] or found[3]}***", text)
    return " ".join(text.split())[:_LONGEST_MESSAGE]
