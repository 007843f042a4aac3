"""Where the certificates of this machine are, which `sslrootcert=system` asks for.

psycopg's wheel has an OpenSSL of its own, whose folder for them (/usr/lib/psycopg-openssl) is on no
machine: every public certificate would be refused. libpq has no parameter for another one, so it is
said in the variables that OpenSSL reads
(https://docs.openssl.org/3.0/man3/SSL_CTX_load_verify_locations/).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_PYTHON = ssl.get_default_verify_paths()
#: Python's own, then those of Debian, Fedora, SUSE and Alpine
#: (https://go.dev/src/crypto/x509/root_linux.go).
FILES = (
    _PYTHON.openssl_cafile,
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
FOLDERS = (_PYTHON.openssl_capath, "/etc/ssl/certs", "/etc/pki/tls/certs")

_ours: dict[str, str] = {}


def trust_the_system(files: Sequence[str] = FILES, folders: Sequence[str] = FOLDERS) -> None:
    """Have OpenSSL trust the first of `files` and of `folders` that there is.

    Nothing is changed where an operator has set one of the variables.
    """
    if os.environ.get(FILE) or os.environ.get(FOLDER):
        return
    for name, places in ((FILE, files), (FOLDER, folders)):
        found = next((each for each in places if Path(each).exists()), None)
        if found is not None:
            os.environ[name] = _ours[name] = found


def given_environment() -> Mapping[str, str]:
    """The environment as the operator gave it: other programs know where to look."""
    return {name: value for name, value in os.environ.items() if _ours.get(name) != value}
