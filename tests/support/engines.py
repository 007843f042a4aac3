"""What both engines are asked about: series in every state of distress, and promtool itself."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from typing import NamedTuple


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    samples: list[Sample]


def seeded(seed):
    return random.Random(seed)  # noqa: S311  samples, not secrets


def series(sample, values):
    """A series of a promtool test: the name and labels of `sample`, and `values` in its words."""
    pairs = (
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sample.labels.items()
    )
    return {"series": f"{sample.name}{{{','.join(pairs)}}}", "values": values}


def number(value):
    """`value` as promtool reads it."""
    return "NaN" if math.isnan(value) else repr(value).replace("inf", "Inf")


def written(sample):
    """A sample as a constant series of a promtool test."""
    return series(sample, " ".join([number(sample.value)] * 3))


def run_promtool(folder, rule_text, tests, step):
    """Let promtool evaluate the rules every `step` over each of its `tests`."""
    (folder / "x.rules.yaml").write_text(rule_text, encoding="utf-8")
    document = {"rule_files": ["x.rules.yaml"], "evaluation_interval": step, "tests": tests}
    (folder / "x.test.yaml").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return subprocess.run(
        [str(shutil.which("promtool")), "test", "rules", str(folder / "x.test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )


def promtool(folder, rule_text, cases):
    """Let promtool evaluate the rules over each case's samples."""
    tests = [
        {
            "interval": "5m",
            "input_series": [written(sample) for sample in samples],
            "alert_rule_test": alerts,
        }
        for samples, alerts in cases
    ]
    return run_promtool(folder, rule_text, tests, "5m")


NASTY = ('app "x"', "back\\slash", "line\nbreak", "é😀", "{{ $value }}", "plain", "'")
REASONS = ("refused", "role_limit", "unprivileged", "late", "auth", "tls", "network", "pooled")
THRESHOLDS = {
    "connections_warning": 0.7, "connections_critical": 0.85, "idle_in_transaction": 10,
    "idle_in_transaction_seconds": 300, "backends_waiting": 20, "role_connections": 0.9,
    "database_connections": 0.9, "stale_connections": 20, "pool_capacity": 1,
}  # fmt: skip
POOLER_THRESHOLDS = {
    "pool_clients_waiting": 20, "pool_wait_warning": 1, "pool_wait_critical": 5, "pool_used": 0.9,
    "pooler_clients_warning": 0.8, "pooler_clients_critical": 0.95, "pooler_limits": 0.9,
}  # fmt: skip


def server_samples(draw, server):
    """The series that the pack reads, of a server in some state of distress."""
    common = {"server": server} | draw.choice([{}, {"instance": "i:9970", "job": "pgheadroom"}])
    found = []

    def add(name, value, **labels):
        labels = {key: text for key, text in labels.items() if text}
        found.append(Sample(f"pgheadroom_{name}", common | labels, float(value)))

    for name, value in THRESHOLDS.items():
        if draw.random() < 0.9:
            add("threshold", value, threshold=name)
    add("connections_used_ratio", draw.choice([0.1, 0.7, 0.8557, 1, 1.0309278350515463]))
    add("connections_free", draw.choice([0, 3]))
    add("idle_in_transaction", draw.choice([0, 10, 11, 1234567]))
    add("idle_in_transaction_oldest_seconds", draw.choice([0, 300, 300.25, 98765.4321]))
    add("connections_stale", draw.choice([20, 21]))
    add("pool_capacity_ratio", draw.choice([0.5, 1, 1.2345]))
    failing = draw.choice([0, 5, 5.5, 15, 61.75])
    add("poll_failing_seconds", failing)
    if failing:
        add("poll_failure", 1, reason=draw.choice(REASONS))
    reason = draw.choice(["", *REASONS])
    add("connect_probe_success", not reason, via="direct", reason=reason)
    for window in ("page", "warning", "leak"):
        if draw.random() < 0.5:
            seconds = draw.choice([0, 0.5, 12.3456, 61, 12345.6])
            add("exhaustion_forecast_seconds", seconds, window=window)
    for event in draw.sample(["relation", "tuple", "DataFileRead"], draw.randint(0, 3)):
        add("backends_waiting", draw.choice([1, 12, 30]), wait_event_type="Lock", wait_event=event)
    for name in draw.sample(NASTY, 3):
        add("role_connections_used_ratio", draw.choice([0.5, 0.9, 1]), usename=name)
        add("database_connections_used_ratio", draw.choice([0.5, 0.9, 1]), datname=name)
    return found


def pooler_samples(draw, server, pooler):
    """The series that the pack reads of a pooler in front of `server`."""
    common = {"server": server, "pooler": pooler}
    common |= draw.choice([{}, {"instance": "i:9970", "job": "pgheadroom"}])
    found = []

    def add(name, value, **labels):
        labels = {key: text for key, text in labels.items() if text}
        found.append(Sample(f"pgheadroom_{name}", common | labels, float(value)))

    for name, value in POOLER_THRESHOLDS.items():
        if draw.random() < 0.9:
            add("threshold", value, threshold=name)
    for name in draw.sample(NASTY, 3):
        pool = {"database": name, "user": draw.choice(NASTY)}
        add("pool_used_ratio", draw.choice([0.1, 0.9, 0.9615, 1.25]), **pool)
        add("pool_clients_waiting", draw.choice([0, 20, 21, 12345]), **pool)
        add("pool_wait_seconds", draw.choice([0, 0.25, 1, 4.96, 5, 119.875]), **pool)
        add("pool_paused", draw.choice([0, 1]), database=name)
        limit = draw.choice(["database_connections", "user_clients"])
        add("pooler_limit_used_ratio", draw.choice([0.5, 0.9, 1]), limit=limit, user=name)
    add("pooler_clients_used_ratio", draw.choice([0.1, 0.8, 0.955, 1]))
    failing = draw.choice([0, 5, 15, 61.75])
    add("pooler_poll_failing_seconds", failing)
    if failing:
        add("pooler_poll_failure", 1, reason=draw.choice(REASONS))
    reason = draw.choice(["", *REASONS])
    add("connect_probe_success", not reason, via=pooler, reason=reason)
    return found


def own_samples(draw):
    found = [Sample("pgheadroom_state_writable", {}, draw.choice([0.0, 1.0]))]
    for receiver in draw.sample(NASTY, 2):
        labels = {"receiver": receiver}
        found.append(Sample("pgheadroom_outbox_failing", labels, draw.choice([0.0, 1.0])))
        found.append(Sample("pgheadroom_outbox_dead", labels, draw.choice([0.0, 7.0])))
    read = draw.choice([0.0, 1.0])
    return [*found, Sample("pgheadroom_config_last_reload_successful", {}, read)]
