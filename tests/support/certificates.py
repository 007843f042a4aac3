"""A certificate authority of our own, by the openssl command; everything is valid for a day."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from exporter.demo.postgres import EmbeddedPostgres
from tests.support.parts import program


class Authority:
    """Signs certificates; `ca` is what its customers trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._openssl = _openssl()
        self.ca = folder / "ca.crt"
        self._key = folder / "ca.key"
        subject = ("-subj", "/CN=test authority", "-days", "1")
        self._run("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.ca, *subject)

    def certificate(self, name: str, alternatives: str = "") -> tuple[Path, Path]:
        """A certificate for `name`, good for `alternatives` too ("IP:127.0.0.1"), and its key."""
        request, certificate, key = (
            self._folder / f"{name}.{end}" for end in ("csr", "crt", "key")
        )
        self._run("req", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternatives}\n" if alternatives else "")
        signer = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions)
        self._run("x509", "-req", "-in", request, "-out", certificate, "-days", "1", *signer)
        key.chmod(0o600)
        return certificate, key

    def _run(self, *arguments: str | Path) -> None:
        command = [self._openssl, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl() -> str:
    return program("openssl", "openssl")


def turn_tls_on(
    server: EmbeddedPostgres, authority: Authority, alternatives: str = "IP:127.0.0.1"
) -> None:
    """Give a running server a certificate, and the authority to check its clients' by."""
    owner = server.data_dir.stat()
    certificate, key = authority.certificate("server", alternatives)
    for source, name in ((certificate, "tls.crt"), (key, "tls.key"), (authority.ca, "ca.crt")):
        target = server.data_dir / name
        shutil.copy(source, target)
        target.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(target, owner.st_uid, owner.st_gid)
    server.psql(
        "alter system set ssl = on; alter system set ssl_cert_file = 'tls.crt';"
        "alter system set ssl_key_file = 'tls.key'; alter system set ssl_ca_file = 'ca.crt';"
        "select pg_reload_conf()"
    )
