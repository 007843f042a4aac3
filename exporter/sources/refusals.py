"""The one table of what a refused login may say, and what that means.

Regular expressions at the beginning of the message, first match wins; then the reason, the hint.
"""

from __future__ import annotations

from exporter.snapshot.server import Reason

_PASSWORD = "check the password, and password_file if there is one"  # noqa: S105  a hint
_HBA = "add a line for this address, role and database to pg_hba.conf"
_ROLE = "create the role, or allow it to log in: pgheadroom grants prints the SQL"
_ROLE_LIMIT = "raise the role's CONNECTION LIMIT to 8 or more: pgheadroom grants prints the SQL"
_DATABASE_LIMIT = "raise it: ALTER DATABASE ... CONNECTION LIMIT"
_CONNECT = "GRANT CONNECT ON DATABASE to the role"
_DATABASE = "name a database that accepts connections; postgres is best"
_NOT_A_CONSOLE = "that is a Postgres server: give the address of PgBouncer"
_DIRECT = "give the address of Postgres itself, not of the pooler"
_NO_TLS = "turn TLS on in the server, or set sslmode=prefer where the network is trusted"
_CERTIFICATE = "check sslrootcert, and that the host in the DSN is the one in the certificate"
_ROOT = "name whom to trust: sslrootcert=system for a public certificate, or your provider's bundle"
_CLIENT_CERTIFICATE = "name sslcert and sslkey in the DSN; the certificate is for the role"
_ADDRESS = "check the host and port in the DSN, and whether the server listens there"

_Row = tuple[str, Reason, str]
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
    (r"permission denied for database ", Reason.AUTH, _CONNECT),
    (r"no such user", Reason.AUTH, "add the user to PgBouncer's auth_file"),
    (r"not allowed", Reason.AUTH, "add the user to PgBouncer's stats_users"),
    (r"connection requires a valid client certificate", Reason.AUTH, _CLIENT_CERTIFICATE),
    (r"authentication method .* not supported", Reason.AUTH, ""),
    (r"server does not support SSL", Reason.TLS, _NO_TLS),
    (r"SSL required", Reason.TLS, "set sslmode=verify-full"),
    (r"SSL SYSCALL error", Reason.NETWORK, _ADDRESS),
    (r"SSL error|sslv3 alert|tlsv1 alert", Reason.TLS, _CERTIFICATE),
    (r"(?:could not get home directory to locate )?root certificate file", Reason.TLS, _ROOT),
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

#: PostgreSQL's German, as 13 to 18 have it. What is not ASCII arrives in the server's own encoding,
#: and as replacement characters: `\S+` stands for it.
GERMAN: tuple[_Row, ...] = (
    (r"tut mir leid, schon zu viele Verbindungen", Reason.REFUSED, ""),
    (r"(?:die )?verbleibenden? Verbindung", Reason.REFUSED, ""),
    (r"zu viele Verbindungen (?:von|f\S+r) Rolle ", Reason.ROLE_LIMIT, _ROLE_LIMIT),
    (r"zu viele Verbindungen f\S+r Datenbank ", Reason.DATABASE_LIMIT, _DATABASE_LIMIT),
    (r"das Datenbanksystem ", Reason.STARTING, ""),
    (r"Verbindung wird abgebrochen aufgrund von Anweisung", Reason.STARTING, ""),
    (r"[\w-]+-Authentifizierung .*fehlgeschlagen", Reason.AUTH, _PASSWORD),
    (r"kein pg_hba\.conf-Eintrag ", Reason.AUTH, _HBA),
    (r"pg_hba\.conf lehnt ", Reason.AUTH, _HBA),
    (r"Rolle .* existiert nicht", Reason.AUTH, _ROLE),
    (r"Rolle .* hat keine Berechtigung zum Einloggen", Reason.AUTH, _ROLE),
    (r"keine Berechtigung f\S+r Datenbank ", Reason.AUTH, _CONNECT),
    (r"Verbindung erfordert ein .*Client-Zertifikat", Reason.AUTH, _CLIENT_CERTIFICATE),
    (r"Datenbank .* existiert nicht", Reason.ERROR, _DATABASE),
    (r"Datenbank .* akzeptiert .* keine Verbindungen", Reason.ERROR, _DATABASE),
    (r"Anzahl angeforderter Standby-Verbindungen", Reason.ERROR, "raise max_wal_senders"),
)
