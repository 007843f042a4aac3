"""Why what an alert is about fails: the state knows it, the alert's labels do not.

A reason in a label would make another alert of each change, and `for` would begin anew.
"""

from __future__ import annotations

from exporter.alerting.alerts import Alert
from exporter.alerting.words import reason_words
from exporter.snapshot.pooler import PoolerState
from exporter.snapshot.server import Probe, ServerState


def summary_of(alert: Alert, state: ServerState | PoolerState) -> str:
    """The alert's summary, with the reason of a failed probe, e.g. "... cannot connect (late)"."""
    summary, probe = alert.annotations.get("summary", ""), _failed_probe(alert, state)
    return f"{summary} ({probe.reason})" if summary and probe is not None else summary


def description_of(alert: Alert, state: ServerState | PoolerState) -> str:
    """The alert's description, with what a failed probe was told."""
    text, probe = alert.annotations.get("description", ""), _failed_probe(alert, state)
    if probe is None or not probe.message:
        return text
    return f"{text} The last one: {reason_words(probe.message)}."


def _failed_probe(alert: Alert, state: ServerState | PoolerState) -> Probe | None:
    """The probe that the alert is about, where it failed and no label says why."""
    probe = state.probes.get(alert.labels.get("via", ""))
    told = "reason" in alert.labels or probe is None or probe.reason is None
    return None if told else probe
