"""What the Helm chart has of the rest of the repository, made anew: files, schema and tables.

Helm cannot read outside of a chart, so the rules, the dashboards and the SQL are copied into it.
`python -m tools.chart` exits with 1 and names the files that differ; `--write` makes them agree.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from exporter.sources.grants import grants_sql
from tools.chart.schema import schema
from tools.chart.values import CHART, ROOT, table

BEGIN = "<!-- begin: made by tools/chart, do not edit -->"
END = "<!-- end -->"


def files() -> Iterator[tuple[Path, str]]:
    """(path, text) of everything in the chart that is made from elsewhere."""
    for source in sorted((ROOT / "alerts").glob("*.rules.yaml")):
        yield CHART / "files" / "alerts" / source.name, source.read_text(encoding="utf-8")
    for source in sorted((ROOT / "dashboards").glob("*.json")):
        yield CHART / "files" / "dashboards" / source.name, source.read_text(encoding="utf-8")
    yield CHART / "files" / "grants.sql", grants_sql()
    yield CHART / "values.schema.json", json.dumps(schema(), indent=1) + "\n"
    yield CHART / "README.md", _readme()


def leftovers() -> list[Path]:
    """Copies of what is not there any more."""
    made = {path for path, _ in files()}
    return [path for path in (CHART / "files").rglob("*") if path.is_file() and path not in made]


def _readme() -> str:
    before, begin, rest = (CHART / "README.md").read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{CHART / 'README.md'} has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """0 when the chart agrees with the rest or was made to, 1 otherwise."""
    write = "--write" in arguments
    wrong = False
    for path, text in files():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        wrong = True
        print(f"{path.relative_to(ROOT)}: {'written' if write else 'differs'}")
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in leftovers():
        wrong = True
        print(f"{path.relative_to(ROOT)}: {'removed' if write else 'is of nothing'}")
        if write:
            path.unlink()
    return 1 if wrong and not write else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
