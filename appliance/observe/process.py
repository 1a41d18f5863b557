"""What the process itself uses, read from /proc/self: a few small files, about a tenth of a millisecond."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One look at the process. A figure that /proc does not give is None."""

    at: float
    """Seconds, monotonic."""
    cpu_s: float
    """Processor time since the start, all threads, user and system."""
    rss_bytes: int | None
    threads: int | None
    fds: int | None


def read_process(at: float, proc: Path = PROC) -> ProcessReading:
    """Look now. Any thread. Never raises."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return ProcessReading(
        at=at,
        cpu_s=used.ru_utime + used.ru_stime,
        rss_bytes=_rss_bytes(proc),
        threads=_threads(proc),
        fds=_fds(proc),
    )


def cpu_ratio(before: ProcessReading, after: ProcessReading) -> float | None:
    """Processor time over the time between, 1.0 is one core; None when no time has passed."""
    passed_s = after.at - before.at
    return round((after.cpu_s - before.cpu_s) / passed_s, 4) if passed_s > 0 else None


def _rss_bytes(proc: Path) -> int | None:
    try:
        return int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def _threads(proc: Path) -> int | None:
    try:  # after the command's name, which may hold anything, num_threads is the 18th word
        return int((proc / "stat").read_text().rpartition(")")[2].split()[17])
    except (OSError, ValueError, IndexError):
        return None


def _fds(proc: Path) -> int | None:
    try:
        return len(os.listdir(proc / "fd")) - 1  # the listing's own
    except OSError:
        return None
