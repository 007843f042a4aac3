"""What the settings of a PgBouncer say, and what to set instead."""

from __future__ import annotations

import re

from exporter.alerting.notification import Severity
from exporter.doctor.advice import PGBOUNCER, Advice
from exporter.doctor.servers import weak_tls
from exporter.snapshot.pool import PoolerSnapshot
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import ServerState
from exporter.sources.credentials import is_local

#: Sockets that listen, the log, and what the libraries keep open.
_OWN_DESCRIPTORS = 20
#: What a Linux process gets where nobody says otherwise (man 2 getrlimit, systemd's soft default).
_USUAL_DESCRIPTORS = 1024
#: Prepared statements in transaction pooling came with this version.
_PREPARES = (1, 21)
_PREPARED_STATEMENTS = 200


def pooler_advice(
    state: PoolerState, server: ServerState | None, tls: str | None
) -> tuple[Advice, ...]:
    """What is wrong with a pooler.

    Args:
        state: what one look saw.
        server: the server that it stands in front of, where the configuration names one.
        tls: what `tls_warning` says of the DSN of its console.
    """
    made = [weak_tls(tls)]
    snapshot = state.snapshot
    if snapshot is not None:
        made += [
            _session_mode(snapshot),
            _descriptors(snapshot),
            _prepared_statements(snapshot),
            _idle_timeout(snapshot, server),
            _server_tls(snapshot),
            _client_tls(snapshot),
            *(_doubt(warning) for warning in state.warnings),
        ]
    return tuple(advice for advice in made if advice is not None)


def _doubt(warning: str) -> Advice:
    found, _, remedy = warning.partition("; ")
    return Advice("pooler_counts", Severity.WARNING, found, remedy, PGBOUNCER)


def _modes(snapshot: PoolerSnapshot) -> dict[str, str]:
    """The mode of each database's pools; a user's own mode shows in the pools alone."""
    usual = snapshot.facts.settings.get("pool_mode", "")
    modes = {each.name: each.pool_mode or usual for each in snapshot.databases}
    return modes | {pool.database: pool.pool_mode for pool in snapshot.pools if pool.pool_mode}


def _session_mode(snapshot: PoolerSnapshot) -> Advice | None:
    found = sorted(name for name, mode in _modes(snapshot).items() if mode == "session")
    if not found:
        return None
    uses = {use.pool.database: use for use in snapshot.pool_use()}
    sizes = [f"{name} (pool of {uses[name].limit})" if name in uses else name for name in found]
    return Advice(
        "session_mode",
        Severity.WARNING,
        f"pool_mode = session for {', '.join(sizes[:5])}: a client keeps its server connection"
        " until it leaves, so a pool serves no more clients than it has connections",
        "pool_mode = transaction, where no client needs LISTEN, session SETs or advisory locks",
        f"{PGBOUNCER}#pool_mode",
    )


def _descriptors(snapshot: PoolerSnapshot) -> Advice | None:
    """max_client_conn and every pool, against what the process may have open."""
    facts = snapshot.facts
    clients = facts.max_client_conn
    if not clients:
        return None
    servers = snapshot.capacity(each.name for each in snapshot.databases)
    needed = clients + servers + _OWN_DESCRIPTORS
    limit = facts.descriptors or _USUAL_DESCRIPTORS
    if needed <= limit:
        return None
    known = facts.descriptors is not None
    words = f"the process may have {limit}" if known else f"a process usually gets {limit}"
    return Advice(
        "file_descriptors",
        Severity.WARNING if known else Severity.INFO,
        f"{clients} max_client_conn + {servers} server connections + {_OWN_DESCRIPTORS} of its own"
        f" = {needed} file descriptors; {words}",
        f"LimitNOFILE={needed} (systemd), or ulimit -n {needed}; or a lower max_client_conn",
        f"{PGBOUNCER}#max_client_conn",
    )


def _prepared_statements(snapshot: PoolerSnapshot) -> Advice | None:
    facts = snapshot.facts
    pooled = sorted(name for name, mode in _modes(snapshot).items() if mode == "transaction")
    number = facts.settings.get("max_prepared_statements", "0")
    if not pooled or number != "0":
        return None
    if _version(facts.version) < _PREPARES:
        return Advice(
            "no_prepared_statements",
            Severity.INFO,
            f"PgBouncer {facts.version} loses prepared statements in transaction pooling",
            f"PgBouncer 1.21 or later with max_prepared_statements = {_PREPARED_STATEMENTS}, or"
            " prepared statements off in every driver",
            f"{PGBOUNCER}#max_prepared_statements",
        )
    return Advice(
        "no_prepared_statements",
        Severity.WARNING,
        "max_prepared_statements = 0 with transaction pooling: a driver that prepares statements"
        ' fails with "prepared statement does not exist"',
        f"max_prepared_statements = {_PREPARED_STATEMENTS}",
        f"{PGBOUNCER}#max_prepared_statements",
    )


def _idle_timeout(snapshot: PoolerSnapshot, server: ServerState | None) -> Advice | None:
    """Idle server connections: kept for ever, or longer than the server keeps them."""
    seconds = _number(snapshot.facts.settings.get("server_idle_timeout"))
    if seconds is None:
        return None
    page = f"{PGBOUNCER}#server_idle_timeout"
    if seconds == 0:
        return Advice(
            "server_idle_timeout",
            Severity.WARNING,
            "server_idle_timeout = 0: what a peak opened stays open, and holds slots for ever",
            "server_idle_timeout = 60 where load comes in bursts, 600 otherwise",
            page,
        )
    facts = server.snapshot.facts if server is not None and server.snapshot is not None else None
    cut = facts.settings.get("idle_session_timeout_seconds", 0.0) if facts is not None else 0.0
    if 0 < cut <= seconds:
        return Advice(
            "server_idle_timeout",
            Severity.WARNING,
            f"server_idle_timeout = {seconds:g} s, but the server's idle_session_timeout cuts idle"
            f" sessions after {cut:g} s: clients are given connections that have just ended",
            f"server_idle_timeout below {cut:g}, or idle_session_timeout = 0 for pooled roles",
            page,
        )
    return None


def _server_tls(snapshot: PoolerSnapshot) -> Advice | None:
    mode = snapshot.facts.settings.get("server_tls_sslmode")
    if mode in {None, "verify-full"}:
        return None
    hosts = (host.strip() for each in snapshot.databases for host in each.host.split(","))
    weak = [host for host in hosts if not is_local(host)]
    if not weak:
        return None
    return Advice(
        "weak_server_tls",
        Severity.WARNING,
        f"server_tls_sslmode = {mode}: the pooler does not check that {weak[0]} is who answers",
        "server_tls_sslmode = verify-full, with server_tls_ca_file",
        f"{PGBOUNCER}#server_tls_sslmode",
    )


def _client_tls(snapshot: PoolerSnapshot) -> Advice | None:
    settings = snapshot.facts.settings
    listens = [host.strip() for host in settings.get("listen_addr", "").split(",") if host.strip()]
    open_to = [host for host in listens if not is_local(host)]
    if settings.get("client_tls_sslmode") != "disable" or not open_to:
        return None
    return Advice(
        "no_client_tls",
        Severity.INFO,
        f"client_tls_sslmode = disable, and it listens on {open_to[0]}: what clients send and are"
        " sent can be read on the network",
        "client_tls_sslmode = require, with client_tls_key_file and client_tls_cert_file",
        f"{PGBOUNCER}#client_tls_sslmode",
    )


def _version(text: str) -> tuple[int, ...]:
    """The numbers of a release.

    >>> _version("1.24.1")
    (1, 24, 1)
    """
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
