"""What the kernel knows of a process: CPU time and memory. Linux only, as the bench is."""

from __future__ import annotations

import os
import time
from pathlib import Path

_MIB_KIB = 1024
#: Fields of /proc/PID/stat after the command's name, which may hold spaces (proc_pid_stat(5)).
_CUTIME, _CSTIME = 13, 14


def cpu_ms(pid: int) -> float:
    """CPU time of the process in milliseconds, all threads, those that ended included.

    The process's CPU clock counts nanoseconds, where /proc/PID/stat counts ticks of 10 ms. Its id
    is that of clock_getcpuclockid(3): the complement of the pid above the number of the clock.

    Raises:
        OSError: there is no such process.
    """
    scheduler_clock = 2
    return time.clock_gettime((~pid << 3) | scheduler_clock) * 1000


def reaped_ms(pid: int) -> float:
    """CPU time of the children that the process has waited for, in milliseconds; ticks of 10 ms.

    A postmaster waits for every backend that ends: this is what short-lived sessions cost.
    """
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    ticks = int(fields[_CUTIME]) + int(fields[_CSTIME])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory now and at its highest, in MiB."""
    found = {}
    for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name in {"VmRSS", "VmHWM"}:
            found[name] = int(value.split()[0]) / _MIB_KIB
    return found["VmRSS"], found["VmHWM"]


def starved_ms(pid: int) -> float:
    """For how long the process's first thread could have run, and had no core, in milliseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e6


def written_mib(pid: int) -> float:
    """What the process has had written to disk so far, in MiB."""
    for line in Path(f"/proc/{pid}/io").read_text("ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "write_bytes":
            return int(value) / _MIB_KIB**2
    return 0.0


def cpu_model() -> str:
    """The processor's name and the number of cores that we may use."""
    name = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
