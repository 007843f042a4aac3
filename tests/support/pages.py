"""Markdown pages taken apart, and values held against a JSON schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(`{3,})(\w*)[^\n]*\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of `page` in `language`."""
    text = page.read_text(encoding="utf-8")
    return [body for _, found, body in _FENCE.findall(text) if found == language]


def commands(page: Path) -> list[str]:
    """What `page` tells to type: the lines of its console blocks that begin with `$ `."""
    lines = (line for block in blocks(page, "console") for line in block.splitlines())
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def broken_links(page: Path) -> list[str]:
    """The links of `page` to files or headings that are not there; other sites are not asked."""
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [link for link in _LINK.findall(prose) if "://" not in link and _broken(page, link)]


def _broken(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path) if path else page
    if not target.exists():
        return True
    return bool(anchor) and anchor not in _anchors(target)


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def schema_problems(
    value: object, part: dict[str, Any], root: dict[str, Any], at: str = ""
) -> Iterator[str]:
    """Why `value` is not what the schema allows: as much of JSON Schema as pydantic writes."""
    if "$ref" in part:
        part = root["$defs"][part["$ref"].rpartition("/")[2]] | {"description": ""}
    choices = part.get("anyOf", part.get("oneOf", ()))
    if choices and all(any(schema_problems(value, one, root)) for one in choices):
        yield f"{at}: {value!r} is none of the choices"
    if "type" in part and not _is(value, part["type"]):
        yield f"{at}: {value!r} is not of type {part['type']}"
        return
    if value not in part.get("enum", [value]) or value != part.get("const", value):
        yield f"{at}: {value!r} is not among {part.get('enum', part.get('const'))}"
    if isinstance(value, str) and not re.search(part.get("pattern", ""), value):
        yield f"{at}: {value!r} does not match {part['pattern']}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _out_of_bounds(value, part, at)
    yield from _inner_problems(value, part, root, at)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, type] = {"object": dict, "array": list, "string": str, "integer": int}
    if kind in ("null", "number"):
        return value is None if kind == "null" else isinstance(value, int | float)
    return isinstance(value, kinds[kind])


def _out_of_bounds(value: float, part: dict[str, Any], at: str) -> Iterator[str]:
    low, above = part.get("minimum", value), part.get("exclusiveMinimum", value - 1)
    if not (low <= value <= part.get("maximum", value) and value > above):
        yield f"{at}: {value} is out of bounds"


def _inner_problems(
    value: object, part: dict[str, Any], root: dict[str, Any], at: str
) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from schema_problems(item, part.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        yield from _mapping_problems(value, part, root, at)


def _mapping_problems(
    value: dict[str, Any], part: dict[str, Any], root: dict[str, Any], at: str
) -> Iterator[str]:
    for key in part.get("required", ()):
        if key not in value:
            yield f"{at}.{key}: missing"
    others = part.get("additionalProperties", {})
    for key, inner in value.items():
        own = part.get("properties", {}).get(key, others)
        if own is False:
            yield f"{at}.{key}: unknown"
        elif own:
            yield from schema_problems(inner, own, root, f"{at}.{key}")
