"""YAML as Prometheus reads it into texts: a scalar is text, whatever it looks like, or null."""

from __future__ import annotations

from typing import Any

import yaml

#: What a scalar without quotes says for null (https://yaml.org/type/null.html).
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def read_yaml(text: str) -> Any:  # noqa: ANN401  a parsing edge: YAML gives anything
    """The document in `text`: mappings, lists, texts and None.

    Raises:
        yaml.YAMLError: it is not YAML, or has a key twice or one that is no text.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a loader that only makes text
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None


class _Loader(yaml.BaseLoader):
    """Every scalar is text or null, and a key that is given twice is an error."""

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:  # noqa: ANN401  text, or None
        value = super().construct_scalar(node)
        return None if node.style is None and value in _NULLS else value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  the library's signature
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _problem("a key is a text; put {{ ... }} in quotes", key)
            if key.value in seen:
                raise _problem(f"the key {key.value!r} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
