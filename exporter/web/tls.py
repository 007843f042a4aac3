"""The TLS of the pages."""

from __future__ import annotations

import ssl

from exporter.config.errors import ConfigError, Problem
from exporter.config.web import TlsServer

_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}


def tls_context(config: TlsServer) -> ssl.SSLContext:
    """A server's context for `config`.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.verify_mode = _VERIFY[config.client_auth_type]
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_passphrase)
    except OSError as error:
        raise _problem("cert_file and key_file", error) from None
    if config.client_ca_file is not None:
        try:
            context.load_verify_locations(config.client_ca_file)
        except OSError as error:
            raise _problem("client_ca_file", error) from None
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask for it at the terminal, and wait."""
    said = "the key is encrypted; give one without a passphrase"
    raise ConfigError("web.config_file", [Problem("tls_server_config.key_file", said)])


def _problem(key: str, error: OSError) -> ConfigError:
    """Why a file cannot be used; an SSLError is an OSError too."""
    reason = getattr(error, "reason", None) or error.strerror or "cannot be used"
    return ConfigError("web.config_file", [Problem(f"tls_server_config.{key}", str(reason))])
