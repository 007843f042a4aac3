"""The pages over TLS, with certificates that are renewed while they are served."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.config.errors import ConfigError
from exporter.config.web import WebConfig, load_web
from exporter.web import door
from exporter.web.port import Port
from exporter.web.server import Web, bind
from tests.support.certificates import Authority

PORT = Port(
    board=Board(),
    clock=time.time,
    alive=lambda: True,
    own_families=tuple,
    own_book=Book,
    deliveries=tuple,
    version="1",
)


def security(folder: Path, pair: tuple[Path, Path], **changes: Any) -> WebConfig:
    tls = {"cert_file": str(pair[0]), "key_file": str(pair[1]), **changes}
    path = folder / "web.config.yml"
    lines = [f"  {key}: {value}" for key, value in tls.items()]
    path.write_text("\n".join(["tls_server_config:", *lines]))
    return load_web(path)


Follow = Callable[[WebConfig], None]


def serve(config: WebConfig, ask: Callable[[Follow, str], Any]) -> Any:
    """What `ask` returns, called on a thread beside the served pages, which follow what it says."""

    async def run() -> Any:
        web = Web(PORT, bind("127.0.0.1", 0), config)
        loop = asyncio.get_running_loop()

        def follow(other: WebConfig) -> None:
            async def now() -> None:
                web.follow(other)

            asyncio.run_coroutine_threadsafe(now(), loop).result(10)

        web.start()
        try:
            return await asyncio.to_thread(ask, follow, web.address)
        finally:
            await web.stop(2)

    return asyncio.run(run())


def get(address: str, context: ssl.SSLContext) -> tuple[int, dict[str, Any]]:
    """The status of /healthz, and the certificate that was shown."""
    connection = http.client.HTTPSConnection(address, context=context, timeout=10)
    try:
        connection.connect()
        shown = connection.sock.getpeercert()
        connection.request("GET", "/healthz")
        return connection.getresponse().status, shown or {}
    finally:
        connection.close()


def test_the_pages_are_served_over_tls_and_a_renewed_certificate_is_shown(tmp_path):
    authority = Authority(tmp_path)
    old = authority.certificate("old", "IP:127.0.0.1")
    new = authority.certificate("new", "IP:127.0.0.1")
    context = ssl.create_default_context(cafile=authority.ca)

    def ask(follow: Follow, address: str) -> list[str]:
        seen = []
        for pair in (old, new):
            follow(security(tmp_path, pair))
            status, shown = get(address, context)
            assert status == 200
            seen.append(dict(pair[0] for pair in shown["subject"])["commonName"])
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain(address)
        follow(WebConfig())
        assert plain(address) == 200
        follow(security(tmp_path, old))
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain(address)
        return seen

    assert serve(security(tmp_path, old), ask) == ["old", "new"]


def plain(address: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_is_asked_of_clients_changes_while_the_pages_are_served(tmp_path):
    first, second = Authority(tmp_path / "first"), Authority(tmp_path / "second")
    pair = first.certificate("server", "IP:127.0.0.1")
    contexts = []
    for authority in (first, second):
        context = ssl.create_default_context(cafile=first.ca)
        context.load_cert_chain(*authority.certificate("client"))
        contexts.append(context)
    demands = {"client_auth_type": "RequireAndVerifyClientCert"}

    def let_in(address: str, context: ssl.SSLContext) -> bool:
        try:
            return get(address, context)[0] == 200
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            return False

    def ask(follow: Follow, address: str) -> list[list[bool]]:
        seen = []
        for changes in (
            {},
            demands | {"client_ca_file": first.ca},
            demands | {"client_ca_file": second.ca},
            {"min_version": "TLS13"},
        ):
            follow(security(tmp_path, pair, **changes))
            old = ssl.create_default_context(cafile=first.ca)
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            seen.append([let_in(address, context) for context in (*contexts, old)])
        return seen

    assert serve(security(tmp_path, pair), ask) == [
        [True, True, True],
        [True, False, False],
        [False, True, False],
        [True, True, False],
    ]


def test_clients_that_never_speak_tls_are_counted_too(tmp_path, monkeypatch):
    monkeypatch.setattr(door, "MOST_CLIENTS", 3)
    authority = Authority(tmp_path)
    pair = authority.certificate("server", "IP:127.0.0.1")

    def ask(_follow: Follow, address: str) -> list[bytes]:
        host, port = address.split(":")
        with contextlib.ExitStack() as stack:
            silent = [
                stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
                for _ in range(4)
            ]
            # The first had to go for the fourth, and for one that speaks the second.
            ended = [silent[0].recv(1)]
            assert get(address, ssl.create_default_context(cafile=authority.ca))[0] == 200
            ended.append(silent[1].recv(1))
            silent[3].settimeout(0.2)
            with pytest.raises(TimeoutError):
                silent[3].recv(1)
        return ended

    assert serve(security(tmp_path, pair), ask) == [b"", b""]


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path):
    pair = Authority(tmp_path).certificate("server")
    secret = tmp_path / "secret.key"
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", pair[1], "-out", secret]
    subprocess.run(command, check=True, capture_output=True)
    with (
        contextlib.closing(bind("127.0.0.1", 0)) as sock,
        pytest.raises(ConfigError, match="key_file: the key is encrypted"),
    ):
        Web(PORT, sock, security(tmp_path, (pair[0], secret)))


def test_clients_without_a_certificate_are_sent_away_where_one_is_asked_for(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.certificate("server", "IP:127.0.0.1")
    certificate, key = authority.certificate("client")
    config = security(
        tmp_path,
        pair,
        client_ca_file=authority.ca,
        client_auth_type="RequireAndVerifyClientCert",
    )

    def ask(_follow: Follow, address: str) -> int:
        nobody = ssl.create_default_context(cafile=authority.ca)
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            get(address, nobody)
        somebody = ssl.create_default_context(cafile=authority.ca)
        somebody.load_cert_chain(certificate, key)
        return get(address, somebody)[0]

    assert serve(config, ask) == 200


def test_a_certificate_that_cannot_be_used_leaves_everything_as_it_is(tmp_path):
    authority = Authority(tmp_path)
    pair = authority.certificate("server", "IP:127.0.0.1")
    other = authority.certificate("other")
    broken = security(tmp_path, (pair[0], other[1]))
    with (
        contextlib.closing(bind("127.0.0.1", 0)) as sock,
        pytest.raises(ConfigError, match="cert_file and key_file"),
    ):
        Web(PORT, sock, broken)

    def ask(follow: Follow, address: str) -> int:
        with pytest.raises(ConfigError):
            follow(broken)
        return get(address, ssl.create_default_context(cafile=authority.ca))[0]

    assert serve(security(tmp_path, pair), ask) == 200
