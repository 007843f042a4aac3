"""The dashboards in `dashboards/`, made from these modules.

`python -m tools.dashboards` exits with 1 and names the files that differ; `--write` makes them
agree.
"""

from __future__ import annotations

import json
import sys

from tools.dashboards import fleet, headroom, poolers
from tools.dashboards.levels import ROOT

FOLDER = ROOT / "dashboards"
DASHBOARDS = {"fleet": fleet.build, "headroom": headroom.build, "poolers": poolers.build}


def rendered(name: str) -> str:
    """The text of `dashboards/NAME.json`."""
    return json.dumps(DASHBOARDS[name](), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """0 when every file agrees or was made to, 1 otherwise."""
    writes, differ = "--write" in arguments, False
    for name in DASHBOARDS:
        file, text = FOLDER / f"{name}.json", rendered(name)
        if file.exists() and file.read_text("utf-8") == text:
            continue
        differ = True
        if writes:
            file.write_text(text, "utf-8")
        print(
            f"{file.relative_to(ROOT)}: {'written' if writes else 'differs; run make dashboards'}"
        )
    return int(differ and not writes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
