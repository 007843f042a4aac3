"""What a receiver's HTTP address and log-in look like; secrets are read anew from their files."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator

from exporter.config.base import Model, SecretFile, read_secret, secret_file

#: A header's name is a token (RFC 9110 5.1).
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_HeaderName = Annotated[str, Field(pattern=_HEADER)]


def check_url(url: str, key: str) -> None:
    """Refuse what no request could be sent to, without repeating it: it may be a secret."""
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", url):
        raise ValueError(f"{key} is not an http:// or https:// address")


def one_of(text: SecretStr | None, file: Path | None, key: str) -> SecretStr:
    """The secret that is given as text or in a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: neither or both are given, or the file is empty.
    """
    if text is not None and file is None:
        return text
    if file is not None and text is None:
        return read_secret(file)
    raise ValueError(f"give either {key} or {key}_file")


class BasicAuth(Model):
    """Basic authentication (RFC 7617)."""

    username: Annotated[str, Field(min_length=1, pattern=r"^[^:\x00-\x1f]+$")]
    """The user; without a colon."""
    password: SecretStr | None = None
    """The password, if it is not in a file."""
    password_file: SecretFile | None = None
    """A file with the password alone, read anew for each attempt."""

    @field_validator("password_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _has_password(self) -> BasicAuth:
        self.header()
        return self

    def header(self) -> str:
        """The value of the Authorization header."""
        password = one_of(self.password, self.password_file, "password").get_secret_value()
        return "Basic " + base64.b64encode(f"{self.username}:{password}".encode()).decode()


class HttpLogin(Model):
    """How a receiver of one's own is logged in to."""

    basic_auth: BasicAuth | None = None
    """User and password."""
    bearer_token_file: SecretFile | None = None
    """A file with a bearer token alone, read anew for each attempt."""
    headers: dict[_HeaderName, SecretStr] = Field(default_factory=dict)
    """More headers; their values are taken for secrets."""

    @field_validator("bearer_token_file")
    @classmethod
    def _token_readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            text = value.get_secret_value()
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"the value of {name} is not printable ASCII")
        return headers

    @model_validator(mode="after")
    def _one_login(self) -> HttpLogin:
        ways: list[object] = [self.basic_auth, self.bearer_token_file]
        ways += [name for name in self.headers if name.lower() == "authorization"]
        if sum(way is not None for way in ways) > 1:
            raise ValueError(
                "give one of basic_auth, bearer_token_file and an Authorization header"
            )
        return self

    def login_headers(self) -> dict[str, str]:
        """The headers that log in, and those of `headers`.

        Raises:
            OSError: a secret's file cannot be read.
            ValueError: it is empty or not text.
        """
        found = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.basic_auth is not None:
            found["Authorization"] = self.basic_auth.header()
        if self.bearer_token_file is not None:
            token = read_secret(self.bearer_token_file).get_secret_value()
            found["Authorization"] = f"Bearer {token}"
        return found
