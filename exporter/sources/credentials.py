"""From a configured DSN to the parameters of one connection, and what can be said of it aloud.

Everything libpq knows works in a DSN (URL or key=value, several hosts, unix sockets, IPv6, service,
passfile) and so does libpq's own environment. The password is read anew for every connection, so
that a rotated one needs no restart.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from exporter.config.base import read_secret
from exporter.config.credentials import Credentials
from exporter.snapshot.server import Failure, Reason
from exporter.sources.errors import SourceError
from exporter.sources.libpq import completed
from exporter.sources.passwords import NO_BOTO3, has_boto3, made_password

_SECRET = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
_SCHEMES = ("postgresql", "postgres")
_ADDRESS = ("host", "hostaddr", "port")
_HIGHEST_PORT = 65535
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: Parameters of other drivers, seen in URLs that people paste; they are named in the message.
_FOREIGN = frozenset(
    {
        *("schema", "pgbouncer", "connection_limit", "pool_timeout", "statement_cache_size"),
        *("sslaccept", "sslidentity", "socket_timeout", "currentSchema", "ssl", "pool_size"),
        *("max_overflow", "workaround", "supa", "statement_timeout", "prepareThreshold"),
        *("ApplicationName", "loginTimeout", "pool", "pool_mode"),
    }
)
_ENCODE = (
    "in a URL, percent-encode / : @ ? # % and spaces in the password (%2F %3A %40 %3F %23 %25 %20)"
)
_QUOTE = "a value with spaces in it stands in single quotes"


async def login(
    credentials: Credentials, application_name: str = "pgheadroom", database: str = "postgres"
) -> dict[str, str]:
    """`conninfo`, with the password where a program or AWS makes it.

    Raises:
        SourceError: the DSN cannot be read, or there is no password.
    """
    params = conninfo(credentials, application_name, database)
    password = await made_password(credentials, params)
    return params if password is None else params | {"password": password}


def conninfo(
    credentials: Credentials, application_name: str = "pgheadroom", database: str = "postgres"
) -> dict[str, str]:
    """The libpq parameters of a new connection, but for a password that must first be made.

    `application_name` is set, `client_encoding` is SQL_ASCII (names come as they are, in whatever
    encoding), and the database is `database` where nothing else names one: a session blocks
    DROP DATABASE of the database that it is in, and nobody drops `postgres`. The address is there
    wherever it comes from: libpq would hold up everybody while it looks a name up.

    Raises:
        SourceError: the DSN or the password file cannot be read.
    """
    dsn = credentials.dsn.get_secret_value()
    try:
        params = _parse(dsn)
    except ValueError as error:
        raise SourceError(Failure(Reason.ERROR, str(error))) from None
    if not {"dbname", "service"} & params.keys() and not os.environ.get("PGDATABASE"):
        params["dbname"] = database
    if not {"host", "hostaddr"} & params.keys():
        known = completed(params)
        params |= {name: known[name] for name in _ADDRESS if name in known}
    if credentials.password_file is not None:
        params["password"] = _password(credentials.password_file)
    return params | {"application_name": application_name, "client_encoding": "SQL_ASCII"}


def secret_parts(params: Mapping[str, str]) -> tuple[str, ...]:
    """The values among connection parameters that must never be shown."""
    return tuple(params[name] for name in _SECRET if params.get(name))


def check_dsn(dsn: str) -> None:
    """Nothing, when libpq will accept `dsn`.

    Raises:
        ValueError: what is wrong with it, in one sentence that quotes nothing secret.
    """
    params = _parse(dsn)
    for host in _list(params, "host"):
        if not host.startswith(("/", "@")) and set(host) & set("@/?# "):
            raise ValueError(f"the host in the DSN cannot be one; {_ENCODE}")
    for port in _list(params, "port"):
        if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= _HIGHEST_PORT):
            raise ValueError(f"the port in the DSN is not a number from 1 to 65535; {_ENCODE}")
    if params.get("sslmode", "prefer") not in _SSLMODES:
        raise ValueError(f"sslmode in the DSN must be one of {', '.join(_SSLMODES)}")


def check_login(credentials: Credentials) -> None:
    """Nothing, when `credentials`, whose DSN is good, give at most one password that can be made.

    Raises:
        ValueError: what is wrong, in one sentence that quotes nothing secret.
    """
    params = _parse(credentials.dsn.get_secret_value())
    for key in credentials.password_keys:
        for name in ("password", "passfile"):
            if name in params:
                said = f"{key} and a {name} in the dsn each give a password; leave only one of them"
                raise ValueError(said)
    if credentials.rds_iam is not None:
        _check_rds_iam(params)


def _check_rds_iam(params: Mapping[str, str]) -> None:
    if not has_boto3():
        raise ValueError(NO_BOTO3)
    hosts = _list(params, "host")
    if len(hosts) != 1 or hosts[0].startswith(("/", "@")):
        raise ValueError("a token of rds_iam is for one host; name the endpoint in the dsn")
    if not (params.get("user") or os.environ.get("PGUSER")):
        raise ValueError("a token of rds_iam is for one role; name it in the dsn")
    if params.get("sslmode") == "disable":
        raise ValueError("rds_iam needs TLS; set sslmode=verify-full in the dsn")


def describe(dsn: str) -> str:
    """Where `dsn` leads, without secrets.

    >>> describe("postgresql://app:secret@db.example.com:6543/shop?sslmode=require")
    'app@db.example.com:6543/shop'
    >>> describe("host=/run/postgresql user=app")
    'app@/run/postgresql:5432/postgres'
    """
    try:
        check_dsn(dsn)
        params = _parse(dsn)
    except ValueError:
        return "(invalid DSN)"
    address = ",".join(_addresses(params))
    role = params.get("user") or os.environ.get("PGUSER")
    dbname = params.get("dbname") or os.environ.get("PGDATABASE") or "postgres"
    where = _service(params) or f"{address}/{dbname}"
    return f"{f'{role}@' if role else ''}{where}"


def addresses(dsn: str) -> tuple[str, ...]:
    """HOST:PORT of each address that a DSN leads to, by its service file and the environment too.

    The name of a service that is not known stands for its addresses. `check_dsn` accepts the DSN.

    >>> addresses("postgresql://app:secret@db.example.com,[::1]:6543/shop")
    ('db.example.com:5432', '[::1]:6543')
    """
    return _addresses(_parse(dsn))


def _addresses(params: Mapping[str, str]) -> tuple[str, ...]:
    known = completed(params) or params
    hosts = _list(known, "host") or _list(known, "hostaddr")
    if not hosts and (service := _service(params)):
        return (service,)
    hosts = hosts or ["localhost"]
    ports = _list(known, "port") or ["5432"]
    ports = ports * len(hosts) if len(ports) == 1 else ports
    pairs = zip(hosts, ports, strict=False)
    return tuple(f"{f'[{h}]' if ':' in h else h}:{p or 5432}" for h, p in pairs)


def _service(params: Mapping[str, str]) -> str:
    """What is known of a DSN that leaves the address to a service file, or ""."""
    name = params.get("service") or os.environ.get("PGSERVICE")
    known = params.get("host") or params.get("hostaddr")
    return f"service {name}" if name and not known else ""


def tls_warning(dsn: str) -> str | None:
    """What somebody on the network could do, where `sslmode` lets them; None where they cannot.

    A service file and libpq's environment count. Only `verify-full` checks who answers
    (https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION).
    """
    try:
        check_dsn(dsn)
        params = _parse(dsn)
    except ValueError:
        return None
    known = completed(params)
    mode = known.get("sslmode", "")
    hosts = _list(known, "host") + _list(known, "hostaddr")
    remote = [host for host in hosts if not is_local(host)]
    if mode == "verify-full" or not remote:
        return None
    return (
        f"sslmode={mode} does not check that {remote[0]} is who answers;"
        " use sslmode=verify-full, with sslrootcert=system for a public certificate"
    )


def _parse(dsn: str) -> dict[str, str]:
    """The parameters in `dsn`; ValueError in our words, because libpq quotes what it rejects."""
    text = dsn.strip()
    if not text:
        raise ValueError("the DSN is empty; write postgresql://role@host:5432/postgres")
    scheme, separator, rest = text.partition("://")
    if separator and "=" not in scheme:
        if scheme not in _SCHEMES:
            raise ValueError("a DSN starts with postgresql:// or postgres://")
        # Behind an unencoded / libpq takes the rest of a password for the database's name.
        if "@" in rest.partition("?")[0].partition("/")[2]:
            raise ValueError(f"the DSN has an @ in the name of the database; {_ENCODE}")
    if not separator and "=" not in text:
        raise ValueError(
            "the DSN is neither a URL (postgresql://role@host/dbname) nor key=value pairs"
        )
    try:
        params = conninfo_to_dict(text)
    except psycopg.ProgrammingError as error:
        raise ValueError(_complaint(str(error), is_url=bool(separator))) from None
    return {name: str(value) for name, value in params.items()}


def _complaint(libpq: str, *, is_url: bool) -> str:
    """Our words for libpq's; the name of a parameter only if it cannot be a piece of a password."""
    if "percent-encoded" in libpq or "forbidden value %00" in libpq:
        return f"a % in the DSN starts no valid escape; {_ENCODE}"
    if "parameter" in libpq or "option" in libpq:
        name = libpq.split('"')[1] if '"' in libpq else ""
        return _unknown_parameter(name, _ENCODE if is_url else _QUOTE)
    if "quoted string" in libpq:
        return "a quote in the DSN is not closed"
    return f"the DSN cannot be parsed; {_ENCODE if is_url else _QUOTE}"


def _unknown_parameter(name: str, hint: str) -> str:
    near = difflib.get_close_matches(name, _known_parameters(), n=1, cutoff=0.75)
    if near:
        return f"the DSN has an unknown parameter {name}; is {near[0]} meant?"
    if name in _FOREIGN:
        return f"the DSN has a parameter {name} of another driver; leave it out"
    return f"the DSN has a parameter that libpq does not know; {hint}"


@functools.cache
def _known_parameters() -> tuple[str, ...]:
    return tuple(option.keyword.decode() for option in pq.Conninfo.get_defaults())


def _password(path: Path) -> str:
    try:
        return read_secret(path).get_secret_value()
    except OSError as error:
        said = f"password_file {path} cannot be read: {error.strerror}"
        raise SourceError(Failure(Reason.AUTH, said)) from None
    except ValueError as error:
        raise SourceError(Failure(Reason.AUTH, f"password_file {error}")) from None


def _list(params: Mapping[str, str], name: str) -> list[str]:
    """The comma-separated values of one parameter."""
    return params[name].split(",") if params.get(name) else []


def is_local(host: str) -> bool:
    """Whether `host` never leaves the machine: a unix socket or a loopback address."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
