"""The one table from what psycopg, libpq, Postgres or PgBouncer says to why an attempt failed.

Errors while connecting carry no SQLSTATE in psycopg, only text, so the text decides; errors of a
statement have one. The texts were collected from PostgreSQL 13 to 18, PgBouncer 1.18 to 1.26 and
psycopg 3.3.9 (tests/data/connect_errors.json); managed services append to some of them, so patterns
match the beginning. Servers with a translated `lc_messages` send texts that no table knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import psycopg
from psycopg import errors

from exporter.snapshot.server import Failure, Reason

#: From this share of the usable slots on, a refusal in unknown words is taken for a full server.
NEARLY_FULL = 0.90
_LONGEST_MESSAGE = 300

_PASSWORD = "check the password, and password_file if there is one"  # noqa: S105  a hint
_HBA = "add a line for this address, role and database to pg_hba.conf"
_ROLE = "create the role, or allow it to log in: pgheadroom grants prints the SQL"
_ROLE_LIMIT = "raise the role's CONNECTION LIMIT to 8 or more: pgheadroom grants prints the SQL"
_DATABASE_LIMIT = "raise it: ALTER DATABASE ... CONNECTION LIMIT"
_DATABASE = "name a database that accepts connections; postgres is best"
_NOT_A_CONSOLE = "that is a Postgres server: give the address of PgBouncer"
_DIRECT = "give the address of Postgres itself, not of the pooler"
_NO_TLS = "turn TLS on in the server, or set sslmode=prefer where the network is trusted"
_CERTIFICATE = "check sslrootcert, and that the host in the DSN is the one in the certificate"
_CLIENT_CERTIFICATE = "name sslcert and sslkey in the DSN; the certificate is for the role"
_ADDRESS = "check the host and port in the DSN, and whether the server listens there"

_Row = tuple[str, Reason, str]
#: Regular expressions at the beginning of the message, first match wins; then the reason, the hint.
TABLE: tuple[_Row, ...] = (
    (r"sorry, too many clients already", Reason.REFUSED, ""),
    (r"remaining connection slots are reserved", Reason.REFUSED, ""),
    (r"no more connections allowed", Reason.REFUSED, "raise PgBouncer's max_client_conn"),
    (r"too many connections for role ", Reason.ROLE_LIMIT, _ROLE_LIMIT),
    (r"too many connections for database ", Reason.DATABASE_LIMIT, _DATABASE_LIMIT),
    (r"the database system is ", Reason.STARTING, ""),
    (r"terminating connection due to administrator command", Reason.STARTING, ""),
    (r"password authentication failed", Reason.AUTH, _PASSWORD),
    (r"fe_sendauth: no password supplied", Reason.AUTH, _PASSWORD),
    (r"(?:SASL|\w+) authentication failed", Reason.AUTH, _PASSWORD),
    (r"no pg_hba\.conf entry ", Reason.AUTH, _HBA),
    (r"pg_hba\.conf rejects ", Reason.AUTH, _HBA),
    (r"role .* does not exist", Reason.AUTH, _ROLE),
    (r"role .* is not permitted to log in", Reason.AUTH, _ROLE),
    (r"permission denied for database ", Reason.AUTH, "GRANT CONNECT ON DATABASE to the role"),
    (r"no such user", Reason.AUTH, "add the user to PgBouncer's auth_file"),
    (r"not allowed", Reason.AUTH, "add the user to PgBouncer's stats_users"),
    (r"connection requires a valid client certificate", Reason.AUTH, _CLIENT_CERTIFICATE),
    (r"authentication method .* not supported", Reason.AUTH, ""),
    (r"server does not support SSL", Reason.TLS, _NO_TLS),
    (r"SSL required", Reason.TLS, "set sslmode=verify-full"),
    (r"SSL SYSCALL error", Reason.NETWORK, _ADDRESS),
    (r"SSL error|sslv3 alert|tlsv1 alert", Reason.TLS, _CERTIFICATE),
    (r"(?:server|root|intermediate) certificate ", Reason.TLS, _CERTIFICATE),
    (r"(?:certificate|private key) (?:file|verify)", Reason.TLS, _CERTIFICATE),
    (r"could not (?:load|read|get) .*(?:certificate|private key)", Reason.TLS, _CERTIFICATE),
    (r"unsupported startup parameter", Reason.POOLED, _DIRECT),
    (r"prepared statement .* does not exist", Reason.POOLED, _DIRECT),
    (r"query_wait_timeout", Reason.LATE, "the pooler found no free server connection in time"),
    (r"connection timeout expired|timeout expired", Reason.LATE, ""),
    (r"canceling statement due to ", Reason.LATE, ""),
    (r"database \"pgbouncer\" does not exist", Reason.ERROR, _NOT_A_CONSOLE),
    (r"database .* does not exist", Reason.ERROR, _DATABASE),
    (r"database .* is (?:not currently accepting connections|disabled)", Reason.ERROR, _DATABASE),
    (r"no such database", Reason.ERROR, _DATABASE),
    (r"number of requested standby connections exceeds ", Reason.ERROR, "raise max_wal_senders"),
    (r"terminating connection due to idle", Reason.ERROR, "set idle_session_timeout to 0"),
    (r"failed to resolve host|could not translate host name", Reason.NETWORK, _ADDRESS),
    (r"Connection (?:refused|timed out|reset)|(?:Network|Host) is ", Reason.NETWORK, _ADDRESS),
    (r"No route to host|No such file or directory|Permission denied", Reason.NETWORK, _ADDRESS),
    (r"server closed the connection|the connection is (?:closed|lost)", Reason.NETWORK, ""),
    (r"(?:could not (?:send|receive|connect)|received invalid)", Reason.NETWORK, _ADDRESS),
)
_PATTERNS = tuple((re.compile(pattern), reason, hint) for pattern, reason, hint in TABLE)

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
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        # libpq quotes what it cannot parse, which may be a piece of a password.
        return Failure(Reason.ERROR, "the DSN cannot be parsed", "run pgheadroom config check")
    failure = _by_type(error) or _by_text(str(error), used_ratio)
    return Failure(failure.reason, redact(failure.message, secrets), failure.hint)


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
    aside = ("\t", "DETAIL:", "HINT:", "Multiple connection attempts failed")
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
