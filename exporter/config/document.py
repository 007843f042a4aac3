"""Reading one YAML file: a mapping, in which no key stands twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from exporter.config.errors import ConfigError, Problem

#: What PyYAML says with the name that follows *, ! or %, which may be a password without quotes.
_QUOTING = (
    "found undefined alias",
    "found undefined tag handle",
    "could not determine a constructor",
    "duplicate tag handle",
)
_MARKED = "a text that begins with *, ! or % stands in quotes"


def read_document(path: Path, first: str = "`servers:`") -> dict[str, Any]:
    """The mapping that the YAML file `path` holds; `first` is what it may begin with.

    Raises:
        ConfigError: it cannot be read, is not YAML, or no mapping.
    """
    raw: Any
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  a SafeLoader
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Problem("", "not UTF-8 text")]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [Problem("", _yaml_message(error))]) from None
    except RecursionError:
        raise ConfigError(str(path), [Problem("", "nested too deeply")]) from None
    if not isinstance(raw, dict):
        raise ConfigError(str(path), [Problem("", f"not a mapping; begin with {first}")])
    return raw


def _yaml_message(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or "unreadable"
    return f"not YAML{where}: {_MARKED if problem.startswith(_QUOTING) else problem}"


class _Loader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys; here the second is an error.

    So is what has itself in it, and a value that is not what YAML takes it for, as 2026-02-30.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401, ARG002, FBT001, FBT002  the base class's signature
        try:
            value = super().construct_object(node, deep=True)
            if isinstance(value, str):
                value.encode()
        except UnicodeEncodeError:
            raise _refused(node, "half a character (\\uD800 to \\uDFFF) is no text") from None
        except (ValueError, LookupError, TypeError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise _refused(node, f"this is no {kind}; put text in quotes") from None
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the base class's signature
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, count in Counter(keys).items():
            if count > 1 and key != "<<":
                raise _refused(node, f"the key {key!r} stands twice in one mapping")
        return super().construct_mapping(node, deep)


def _refused(node: yaml.Node, why: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, node.start_mark)
