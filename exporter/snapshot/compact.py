"""JSON of what is kept, in as few bytes as it takes."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any


def compact_json(value: object) -> str:
    """`value`, in which there may be dataclasses, as JSON.

    What `json.dumps` makes of `dataclasses.asdict`, which copies everything first; this is done
    every few seconds for each server that matters.
    """
    return json.dumps(value, default=_shallow, separators=(",", ":"))


def _shallow(value: Any) -> dict[str, Any]:  # noqa: ANN401  whatever json cannot write
    return {each.name: getattr(value, each.name) for each in fields(value)}
