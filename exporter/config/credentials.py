"""Where a connection goes, and the one place that its password comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from exporter.config.base import Model, SecretFile, Timeout, secret_file

Word = Annotated[str, Field(min_length=1)]


def _argv(value: Any) -> Any:  # noqa: ANN401  a parsing edge: YAML gives anything
    """A line of text is one for the shell."""
    return ("/bin/sh", "-c", value) if isinstance(value, str) and value.strip() else value


Command = Annotated[
    tuple[Word, ...],
    BeforeValidator(_argv),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "description": "a line for the shell"},
                {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            ]
        }
    ),
]
#: Keys that each give a password; one of them at most is set.
PASSWORD_KEYS = ("password_file", "password_command", "rds_iam")


class RdsIam(Model):
    """A token of AWS Identity and Access Management instead of a password.

    Needs the extra `aws` (boto3) and, in the dsn, the endpoint's own name, a port and a role that
    is a member of `rds_iam`.
    """

    region: Word
    """The region of the database, as in `eu-west-1`."""
    profile: Word | None = None
    """A profile of the AWS configuration files; without it boto3 looks where it always does."""


class Credentials(Model):
    """Where a connection goes and what it shows there; the password is read for each connection."""

    dsn: SecretStr
    """A libpq URI or `key=value` string; it leads to Postgres itself, not through a pooler."""
    password_file: SecretFile | None = None
    """A file with the password alone, read anew for each connection."""
    password_command: Command | None = None
    """A program and its arguments, or one line for the shell, that writes the password; run anew
    for each connection."""
    password_timeout: Timeout = 10.0
    """`password_command` and `rds_iam` are given up after this."""
    rds_iam: RdsIam | None = None
    """A token of AWS IAM instead of a password, signed anew for each connection."""

    @field_validator("dsn")
    @classmethod
    def _dsn_parses(cls, dsn: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.context is not None:
            info.context.check_dsn(dsn.get_secret_value())
        return dsn

    @field_validator("password_file")
    @classmethod
    def _readable(cls, path: Path | None) -> Path | None:
        return None if path is None else secret_file(path)

    @model_validator(mode="after")
    def _one_password(self, info: ValidationInfo) -> Credentials:
        given = self.password_keys
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each give a password; leave only one of them")
        if info.context is not None:
            info.context.check_login(self)
        return self

    @property
    def password_keys(self) -> tuple[str, ...]:
        """The keys that give a password."""
        return tuple(key for key in PASSWORD_KEYS if getattr(self, key) is not None)

    @property
    def password_seconds(self) -> float:
        """How long a password may take that is made; one that is only read takes none."""
        made = self.password_command is not None or self.rds_iam is not None
        return self.password_timeout if made else 0.0
