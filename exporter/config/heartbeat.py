"""Where somebody listens for pgheadroom being alive."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr, field_validator, model_validator

from exporter.config.base import Model, Seconds, SecretFile, Timeout, secret_file
from exporter.config.http import check_url, one_of


class Heartbeat(Model):
    """A dead man's switch: an address that is asked for while pgheadroom works, and else is not.

    Whoever is behind it (healthchecks.io, Dead Man's Snitch, a PagerDuty heartbeat) tells people
    when it falls silent. The address is the credential.
    """

    url: SecretStr | None = None
    """The address, if it is not in a file."""
    url_file: SecretFile | None = None
    """A file with the address alone, read anew each time."""
    interval: Seconds = 60
    """How often it is asked for; whoever listens should wait for three of these."""
    timeout: Timeout = 5
    """For connecting, and again for the answer."""

    @field_validator("url_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _has_address(self) -> Heartbeat:
        check_url(self.address(), "url")
        return self

    def address(self) -> str:
        """What is asked for, read anew from its file."""
        return one_of(self.url, self.url_file, "url").get_secret_value()
