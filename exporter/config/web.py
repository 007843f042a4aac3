"""TLS and log-in of the pages: a Prometheus `web.config.yml`, as far as it applies here.

The format is that of https://prometheus.io/docs/prometheus/latest/configuration/https/; keys that
would have no effect here are refused rather than ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from exporter.config.base import Model, resolved
from exporter.config.document import read_document
from exporter.config.errors import ConfigError, problems_of

_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")


def _hash(text: str) -> str:
    if not _BCRYPT.fullmatch(text):
        raise ValueError("not a bcrypt hash; make one with: htpasswd -nBC 10 '' | tr -d ':\\n'")
    return text


_File = Annotated[Path, BeforeValidator(resolved)]
Hash = Annotated[str, AfterValidator(_hash)]


@dataclass(frozen=True, slots=True)
class _Base:
    """The validation context: the folder that relative paths start from."""

    base: Path


class TlsServer(Model):
    """The certificate that clients see, and whether they need one."""

    cert_file: _File
    """The certificate and what stands between it and the root; read anew when it changes."""
    key_file: _File
    """Its private key."""
    client_ca_file: _File | None = None
    """Whose client certificates are accepted."""
    client_auth_type: Literal[
        "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"
    ] = "NoClientCert"
    """Whether clients must have one."""
    min_version: Literal["TLS12", "TLS13"] = "TLS12"
    """The oldest version of TLS."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that it is read from."""
        return tuple(f for f in (self.cert_file, self.key_file, self.client_ca_file) if f)

    @model_validator(mode="after")
    def _has_authority(self) -> TlsServer:
        if (self.client_auth_type == "NoClientCert") != (self.client_ca_file is None):
            raise ValueError("client_ca_file and client_auth_type go together")
        return self


class WebConfig(Model):
    """The file."""

    tls_server_config: TlsServer | None = None
    basic_auth_users: dict[Annotated[str, Field(pattern=r"^[^:\x00-\x1f]+$")], Hash] = Field(
        default_factory=dict
    )
    """Names and bcrypt hashes of passwords."""


def load_web(path: Path | None) -> WebConfig:
    """What `path` says; without a file neither TLS nor log-in.

    Raises:
        ConfigError: with every problem found; no hash is repeated.
    """
    if path is None:
        return WebConfig()
    raw = read_document(path, first="`basic_auth_users:` or `tls_server_config:`")
    try:
        return WebConfig.model_validate(raw, context=_Base(path.absolute().parent))
    except ValidationError as error:
        raise ConfigError(str(path), problems_of(error, WebConfig)) from None
