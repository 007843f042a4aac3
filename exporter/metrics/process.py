"""The series that every exporter has of its own process.

Names as in https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.metrics.families import Builder, Families


@dataclass(frozen=True, slots=True)
class Process:
    """One process. Memory is in bytes, `started_at` in Unix seconds; `max_fds` -1 is no limit."""

    cpu_seconds: float
    resident_memory: int
    virtual_memory: int
    open_fds: int
    max_fds: int
    started_at: float


def process_families(process: Process) -> Families:
    """The series of `process`."""
    builder = Builder()
    builder.counter(
        "process_cpu_seconds_total", "User and system CPU time used.", process.cpu_seconds
    )
    for name, documentation, value in (
        ("resident_memory_bytes", "Memory that is in RAM.", process.resident_memory),
        ("virtual_memory_bytes", "Address space.", process.virtual_memory),
        ("open_fds", "Open file descriptors.", process.open_fds),
        ("max_fds", "The most that may be open.", process.max_fds),
        ("start_time_seconds", "When the process began, Unix seconds.", process.started_at),
    ):
        builder.gauge(f"process_{name}", documentation, value)
    return builder.build()
