"""The manners that every configuration model shares, and the types its fields are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
#: Whoever wants more than ten years wants another rule, or mistook the unit.
LONGEST_SECONDS = 3660 * 86400.0
#: Sockets and Postgres' statement_timeout count milliseconds in 32 bits: that is 24 days.
_LONGEST_WAIT_SECONDS = 86400.0
#: Labels that pgheadroom sets itself; a configured one of that name would give a word two meanings.
RESERVED_LABELS = frozenset({"server", "pooler", "alertname", "severity", "family", "alertstate"})


class Model(BaseModel):
    """Frozen, and a stranger's key is an error rather than a setting that never took effect."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A key that a subclass only gives another default means what it meant before."""
        schema = handler(core_schema)
        parts = handler.resolve_ref_schema(schema).get("properties", {})
        for base in cls.__mro__:
            for name, field in getattr(base, "__pydantic_fields__", {}).items():
                if field.description:
                    parts.get(name, {}).setdefault("description", field.description)
        return schema


def duration_seconds(value: object) -> float:
    """Seconds of a Prometheus-style duration ("2s", "1m30s") or of a plain number.

    >>> duration_seconds("1m30s")
    90.0
    >>> duration_seconds(0.5)
    0.5

    Raises:
        ValueError: it is neither, or more than ten years.
    """
    seconds = _seconds(value)
    if not seconds <= LONGEST_SECONDS:
        raise ValueError("too large for a duration: it must end within ten years")
    return float(seconds)


def _seconds(value: object) -> float:
    if isinstance(value, bool):
        raise ValueError("write a duration such as 2s, 5m or 1h30m")  # noqa: TRY004  pydantic collects ValueError
    if isinstance(value, int | float):
        return value
    text = str(value).strip()
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write 2s, 500ms, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _label_name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{name!r} is no text: put the label's name in quotes")  # noqa: TRY004  as above
    if not _LABEL_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a label name; use letters, digits and _")
    if name in RESERVED_LABELS:
        raise ValueError(f"{name!r} is a label that pgheadroom sets itself; choose another name")
    return name


def _label_value(value: Any) -> Any:  # noqa: ANN401  a parsing edge: `env: 1` is meant as text
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


#: What an editor is told instead of "number": durations are usually written as text.
_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": LONGEST_SECONDS, "description": "seconds"},
        {
            "type": "string",
            "pattern": f"^{_DURATION.pattern}$",
            "description": "a duration such as 500ms, 2s, 5m or 1h30m",
        },
    ],
}

Seconds = Annotated[
    float, BeforeValidator(duration_seconds), Field(gt=0), WithJsonSchema(_DURATION_SCHEMA)
]
SecondsOrZero = Annotated[
    float, BeforeValidator(duration_seconds), Field(ge=0), WithJsonSchema(_DURATION_SCHEMA)
]
Timeout = Annotated[Seconds, Field(le=_LONGEST_WAIT_SECONDS)]
Ratio = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=r"^[^\s\x00-\x1f]+$")]
Labels = dict[
    Annotated[str, BeforeValidator(_label_name)], Annotated[str, BeforeValidator(_label_value)]
]


def read_secret(path: Path) -> SecretStr:
    """The text of a secret file without its trailing line break.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty or not text.
    """
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{path} is empty")
    return SecretStr(text)


def secret_file(path: Path) -> Path:
    """`path` itself, once it has been read for a try; the secret is read anew when it is used."""
    try:
        read_secret(path)
    except OSError as error:
        raise ValueError(
            f"cannot read {path}: {error.strerror}; check the path and its permissions"
        ) from None
    return path


def possible(path: Path) -> Path:
    """`path` itself.

    Raises:
        ValueError: no file can have that name.
    """
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r} is not a path: no file has \\0 in its name")
    return path


def expanded(path: str) -> Path:
    """`path` with the home directory that a `~` at its beginning stands for.

    Raises:
        ValueError: no file can have that name, or nobody has such a home directory.
    """
    try:
        return possible(Path(path)).expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: there is no such home directory; write the path out") from None


def resolved(value: Any, info: ValidationInfo) -> Path:  # noqa: ANN401  a parsing edge
    """A path as written, a relative one from the configuration file's folder."""
    path = expanded(str(value))
    return path if info.context is None else Path(info.context.base) / path


SecretFile = Annotated[Path, BeforeValidator(resolved)]
RuleFile = Annotated[Path, BeforeValidator(resolved)]
