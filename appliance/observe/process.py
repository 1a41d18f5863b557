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


def held_by_kernel(proc: Path = PROC) -> bool:
    """Whether one of its threads is in a call that not even SIGKILL ends (state D): mostly for a moment, for a disk;
    for ever in a driver that hangs. Until it returns the process can neither end nor become another one. Any thread."""
    return any(_thread_state(task) == "D" for task in (proc / "task").glob("*"))


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
    try:
        return int(_stat(proc)[17])  # num_threads
    except (OSError, ValueError, IndexError):
        return None


def _thread_state(task: Path) -> str:
    try:
        return _stat(task)[0]
    except (OSError, IndexError):  # it has ended meanwhile
        return ""


def _stat(proc: Path) -> list[str]:
    """The words after the command's name, which may hold anything."""
    return (proc / "stat").read_text().rpartition(")")[2].split()


def _fds(proc: Path) -> int | None:
    try:
        return len(os.listdir(proc / "fd")) - 1  # the listing's own
    except OSError:
        return None
