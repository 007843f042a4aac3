"""The keys of promtool's test files; a mistyped one would leave out a test without a word.

See https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#test-file-format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What is below each key, where that is a list of mappings with keys of their own.
_Keys = Mapping[str, "_Keys | None"]
_ALERT: _Keys = dict.fromkeys(("exp_labels", "exp_annotations"))
_SAMPLE: _Keys = dict.fromkeys(("labels", "value"))
_TEST: _Keys = {
    **dict.fromkeys(("name", "interval", "external_labels", "external_url", "start_timestamp")),
    "input_series": dict.fromkeys(("series", "values")),
    "alert_rule_test": {"eval_time": None, "alertname": None, "exp_alerts": _ALERT},
    "promql_expr_test": {"eval_time": None, "expr": None, "exp_samples": _SAMPLE},
}
_FILE: _Keys = {
    **dict.fromkeys(("rule_files", "evaluation_interval", "group_eval_order", "fuzzy_compare")),
    "tests": _TEST,
}


def check_keys(document: Mapping[str, Any], known: _Keys = _FILE, where: str = "") -> None:
    """Raise ValueError, with its place, at the first key that is not known."""
    for key, value in document.items():
        if key not in known:
            place = f"{where}: " if where else ""
            raise ValueError(f"{place}the key {key!r} is unknown; known are {', '.join(known)}")
        below = known[key]
        for number, each in enumerate(value if below and isinstance(value, list) else (), 1):
            if below and isinstance(each, Mapping):
                check_keys(each, below, f"{where}, {key} number {number}".removeprefix(", "))
