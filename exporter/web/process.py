"""What Linux says of this process; nothing on other systems."""

from __future__ import annotations

import functools
import os
import resource
from pathlib import Path

from exporter.metrics.families import Families
from exporter.metrics.process import Process, process_families

_SELF = Path("/proc/self")
#: Where /proc/self/stat has starttime, counted after the name in parentheses
#: (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22).
_STARTTIME = 19


def own_process() -> Families:
    """The series of this process as of now; none where there is no /proc."""
    try:
        virtual, resident = map(int, (_SELF / "statm").read_text("ascii").split()[:2])
        open_fds, started_at = sum(1 for _ in (_SELF / "fd").iterdir()), _started_at()
    except OSError:
        return ()
    usage, page = resource.getrusage(resource.RUSAGE_SELF), resource.getpagesize()
    return process_families(
        Process(
            usage.ru_utime + usage.ru_stime,
            resident * page,
            virtual * page,
            open_fds,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            started_at,
        )
    )


@functools.cache
def _started_at() -> float:
    """When the process began: the machine's boot, and the clock ticks since."""
    boot = next(
        float(line.split()[1])
        for line in Path("/proc/stat").read_text("ascii").splitlines()
        if line.startswith("btime ")
    )
    after_name = (_SELF / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return boot + int(after_name[_STARTTIME]) / os.sysconf("SC_CLK_TCK")
