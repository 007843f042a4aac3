"""What an unknown key may have meant: a key of the same mapping, or one that belongs elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

Schema = dict[str, Any]
#: How alike two keys are, 0 to 1, for one to be a typing mistake for the other; a key of another
#: mapping must be nearly the same.
_HERE, _ELSEWHERE = 0.7, 0.8
#: A key that half of the mappings have: some of them are enough to see that it is none of this one.
_NAMED = 4


def key_hint(location: Sequence[str | int], schema: Schema) -> str:
    """What to write instead of the key at the end of `location`, "" where nothing is alike.

    Args:
        location: pydantic's `loc` of the error.
        schema: the JSON schema of the whole model.
    """
    key, nodes = str(location[-1]), _expanded(schema, schema)
    for part in location[:-1]:
        nodes = _step(nodes, part, schema)
    here = {name for node in nodes for name in node.get("properties", {})}
    if near := difflib.get_close_matches(key, here, n=1, cutoff=_HERE):
        return f"did you mean {near[0]}?"
    places = tuple(_places(schema, schema))
    known = {name for _, name in places}
    near = difflib.get_close_matches(key, known, n=1, cutoff=_ELSEWHERE)
    if not near:
        return ""
    above = _generic(location[:-1])
    found = sorted({place or "the top level" for place, name in places if name == near[0]})
    inside = [place for place in found if above and place.startswith(above)]
    return f"{near[0]} is a key of {_either(inside or found)}"


def _either(places: Sequence[str]) -> str:
    """Places in words; of many the ones that are nearest to the top."""
    nearest = sorted(places, key=lambda place: (place.count("."), place))[:_NAMED]
    return " or ".join(nearest)


def _expanded(node: Schema, schema: Schema) -> list[Schema]:
    """The mappings and lists that `node` may be, references and choices followed."""
    if "$ref" in node:
        return _expanded(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())]
    return [node, *(found for choice in choices for found in _expanded(choice, schema))]


def _step(nodes: Sequence[Schema], part: str | int, schema: Schema) -> list[Schema]:
    """What is at `part` of `nodes`; for the tag of a kind of receiver, that kind."""
    inner = [child for node in nodes for child in _children(node, part)]
    if inner:
        return [found for child in inner for found in _expanded(child, schema)]
    return [node for node in nodes if _kind(node) == part] or list(nodes)


def _children(node: Schema, part: str | int) -> Iterator[Schema]:
    if isinstance(part, int):
        yield from (node["items"],) if "items" in node else ()
    elif part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(node.get("additionalProperties"), dict):
        yield node["additionalProperties"]


def _kind(node: Schema) -> object:
    return node.get("properties", {}).get("type", {}).get("const")


def _places(
    node: Schema, schema: Schema, place: str = "", above: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Every key with the place of its mapping, such as `servers[].polling`."""
    if "$ref" in node:
        if node["$ref"] not in above:
            target = schema["$defs"][node["$ref"].rpartition("/")[2]]
            yield from _places(target, schema, place, (*above, node["$ref"]))
        return
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _places(choice, schema, place, above)
    if "items" in node:
        yield from _places(node["items"], schema, f"{place}[]", above)
    if isinstance(node.get("additionalProperties"), dict):
        yield from _places(node["additionalProperties"], schema, f"{place}.NAME", above)
    named = f"{place} of type {_kind(node)}" if _kind(node) else place
    for key, child in node.get("properties", {}).items():
        yield named, key
        yield from _places(child, schema, f"{place}.{key}" if place else key, above)


def _generic(location: Sequence[str | int]) -> str:
    """`servers[]` for ("servers", 0)."""
    place = ""
    for part in location:
        place += "[]" if isinstance(part, int) else f".{part}" if place else part
    return place
