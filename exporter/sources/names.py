"""Host names become addresses without anybody waiting for anybody else's name server.

psycopg looks names up in the event loop's default executor, which has a handful of threads for the
whole process: a few servers whose name server does not answer would take them all, and no other
server could log in. Here each name has a thread of its own, and never more than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future

import psycopg

_Address = tuple[str, str]
"""Host and port."""


class Lookups:
    """The look-ups under way in this process; whoever asks for the same name waits for the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[_Address, Future[list[str]]] = {}

    async def find(self, host: str, port: str) -> list[str]:
        """The addresses of `host`, as the system's resolver orders them.

        Raises:
            OSError: there are none.
        """
        with self._lock:
            found = self._pending.get((host, port))
            if found is None:
                found = self._pending[host, port] = Future()
                name = f"lookup-{host}"[:15]
                threading.Thread(
                    target=self._run, args=(found, host, port), name=name, daemon=True
                ).start()
        # Shielded: one that gives up must not end the look-up for the others.
        return await asyncio.shield(asyncio.wrap_future(found))

    def _run(self, found: Future[list[str]], host: str, port: str) -> None:
        found.set_running_or_notify_cancel()
        try:
            answer = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
            addresses = list(dict.fromkeys(str(each[4][0]) for each in answer))
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(f"not a name: {error}")
            self._forget(host, port)
            found.set_exception(failure)
        else:
            self._forget(host, port)
            found.set_result(addresses)

    def _forget(self, host: str, port: str) -> None:
        with self._lock:
            self._pending.pop((host, port), None)


_LOOKUPS = Lookups()


async def with_addresses(
    params: Mapping[str, str], lookups: Lookups = _LOOKUPS
) -> Mapping[str, str]:
    """`params` with `hostaddr` beside each name in `host`; a name with several is repeated.

    Unchanged where nothing needs to be looked up, or `hostaddr` is given.

    Raises:
        psycopg.OperationalError: none of the names has an address, in psycopg's own words.
    """
    hosts = params.get("host", "").split(",")
    ports = params.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    # Where their numbers differ, libpq says what is wrong.
    if params.get("hostaddr") or not any(map(_is_name, hosts)) or len(ports) != len(hosts):
        return params
    entries: list[tuple[str, str, str]] = []
    failed: list[str] = []
    for host, port in zip(hosts, ports, strict=True):
        try:
            addresses = await lookups.find(host, port or "5432") if _is_name(host) else [host]
        except OSError as error:
            failed.append(f"failed to resolve host {host!r}: {error}")
            continue
        entries += [(host, "" if _is_local(host) else each, port) for each in addresses]
    if not entries:
        raise psycopg.OperationalError("\n".join(failed))
    columns = map(",".join, zip(*entries, strict=True))
    return {**params, **dict(zip(("host", "hostaddr", "port"), columns, strict=True))}


def _is_name(host: str) -> bool:
    """Whether the name server has to be asked: no address, no unix socket, not libpq's default."""
    if not host or _is_local(host):
        return False
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0])
        return False
    return True


def _is_local(host: str) -> bool:
    return host.startswith(("/", "@"))
