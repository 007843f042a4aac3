"""Making prometheus_client families, and putting those of several servers together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from prometheus_client.core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Families = tuple[Metric, ...]


class Builder:
    """Collects the families of one endpoint; every sample carries its constant labels."""

    def __init__(self, **constant: str) -> None:
        self._constant = constant
        self._families: dict[str, Metric] = {}

    def gauge(self, name: str, documentation: str, value: float | None, /, **labels: str) -> None:
        """Add a sample to the gauge `name`; a value of None adds nothing. `name` may be a label."""
        self._add(name, name, documentation, "gauge", value, labels)

    def counter(self, name: str, documentation: str, value: float | None, **labels: str) -> None:
        """Add a sample to the counter `name`, which ends in `_total`; None adds nothing."""
        self._add(name.removesuffix("_total"), name, documentation, "counter", value, labels)

    def untyped(self, name: str, documentation: str, value: float | None, **labels: str) -> None:
        """Add a sample to `name`, which claims no type; a value of None adds nothing."""
        self._add(name, name, documentation, "unknown", value, labels)

    def _add(  # noqa: PLR0913, PLR0917  one line of the exposition has that many parts
        self,
        family: str,
        name: str,
        documentation: str,
        kind: str,
        value: float | None,
        labels: Mapping[str, str],
    ) -> None:
        if value is None:
            return
        metric = self._families.get(family)
        if metric is None:
            metric = self._families[family] = Metric(family, documentation, kind)
        metric.samples.append(Sample(name, {**self._constant, **labels}, float(value)))

    def histogram(
        self,
        name: str,
        documentation: str,
        buckets: Mapping[float, int],
        total: float,
        **labels: str,
    ) -> None:
        """Add a histogram: cumulative counts by upper bound, the last infinite, and the sum."""
        for bound, count in buckets.items():
            le = "+Inf" if bound == float("inf") else str(bound)
            self._add(
                name, f"{name}_bucket", documentation, "histogram", count, labels | {"le": le}
            )
        count = max(buckets.values(), default=0)
        self._add(name, f"{name}_count", documentation, "histogram", count, labels)
        self._add(name, f"{name}_sum", documentation, "histogram", total, labels)

    def build(self) -> Families:
        """The families, in the order of their first samples."""
        return tuple(self._families.values())


def merged(groups: Iterable[Families]) -> Families:
    """One family per name; the exposition format allows each name to be described once."""
    found: dict[str, Metric] = {}
    for families in groups:
        for family in families:
            known = found.get(family.name)
            if known is None:
                known = Metric(family.name, family.documentation, family.type)
                found[family.name] = known
            known.samples.extend(family.samples)
    return tuple(found.values())


def render(families: Families) -> bytes:
    """The Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

    What prometheus_client's `generate_latest` makes of the same families, byte for byte; it takes
    four times as long, which is most of a scrape.
    """
    lines: list[str] = []
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kind = "untyped" if family.type == "unknown" else family.type
        documentation = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
        lines.append(f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n")
        lines += [_line(sample) for sample in family.samples]
    return "".join(lines).encode()


def _line(sample: Sample) -> str:
    value: str = floatToGoString(sample.value)  # type: ignore[no-untyped-call]  # theirs has none
    if not sample.labels:
        return f"{sample.name} {value}\n"
    return f"{sample.name}{{{','.join(map(_pair, sorted(sample.labels.items())))}}} {value}\n"


# The same labels come with every scrape. Not whole series: those of a fleet are too many to keep.
@lru_cache(maxsize=4096)
def _pair(label: tuple[str, str]) -> str:
    name, text = label
    escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{escaped}"'
