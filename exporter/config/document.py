"""Reading one YAML file: a mapping, in which no key stands twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from exporter.config.errors import ConfigError, Problem


def read_document(path: Path) -> dict[str, Any]:
    """The mapping that the YAML file `path` holds.

    Raises:
        ConfigError: it cannot be read, is not YAML, or no mapping.
    """
    raw: Any
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except OSError as error:
        raise ConfigError(str(path), [Problem("", f"cannot read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), [Problem("", "not UTF-8 text")]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [Problem("", _yaml_message(error))]) from None
    if not isinstance(raw, dict):
        raise ConfigError(str(path), [Problem("", "not a mapping; begin with `servers:`")])
    return raw


def _yaml_message(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"not YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys; here the second is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the base class's signature
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, count in Counter(keys).items():
            if count > 1 and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice in one mapping", node.start_mark
                )
        return super().construct_mapping(node, deep)
