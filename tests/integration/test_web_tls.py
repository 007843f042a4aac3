"""The pages over TLS, with certificates that are renewed while they are served."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.alerting.alerter import Book
from exporter.alerting.board import Board
from exporter.config.errors import ConfigError
from exporter.config.web import WebConfig, load_web
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


def serve(config: WebConfig, ask: Callable[[Web, str], Any]) -> Any:
    """What `ask` returns, called on a thread beside the served pages."""

    async def run() -> Any:
        web = Web(PORT, bind("127.0.0.1", 0), config)
        web.start()
        try:
            return await asyncio.to_thread(ask, web, web.address)
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

    def ask(web: Web, address: str) -> list[str]:
        seen = []
        for pair in (old, new):
            assert web.follow(security(tmp_path, pair))
            status, shown = get(address, context)
            assert status == 200
            seen.append(dict(pair[0] for pair in shown["subject"])["commonName"])
        assert not web.follow(WebConfig())
        with pytest.raises(http.client.HTTPException):
            plain(address)
        return seen

    assert serve(security(tmp_path, old), ask) == ["old", "new"]


def plain(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/healthz")
        connection.getresponse()
    except ConnectionResetError as error:
        raise http.client.HTTPException("closed") from error
    finally:
        connection.close()


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

    def ask(_web: Web, address: str) -> int:
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

    def ask(web: Web, address: str) -> int:
        with pytest.raises(ConfigError):
            web.follow(broken)
        return get(address, ssl.create_default_context(cafile=authority.ca))[0]

    assert serve(security(tmp_path, pair), ask) == 200
