"""Servers that an earlier run of ours left behind, known by the configuration that they were started with.

Where there is no setpriv, nothing ends the embedded server when alto is killed; it would hold its port against us.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from pathlib import Path
from typing import Final

END_S: Final = 1.0  # a killed process is gone in a millisecond; a board whose disk hangs takes longer
LOOK_S: Final = 0.01
PROC: Final = Path("/proc")


def end_all(config: Path) -> list[int]:
    """Kill each process that was started with this configuration file and whose alto is gone; returns their ids.

    Blocks for some hundredths of a second, one second if a process does not go. Another alto that runs keeps its own.
    """
    ended = [pid for pid in _processes() if _is_left_over(pid, config) and _end(pid, config)]
    deadline_s = time.monotonic() + END_S
    while any(_is_left_over(pid, config) for pid in ended) and time.monotonic() < deadline_s:
        time.sleep(LOOK_S)
    return ended


def _processes() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal() and entry.name != str(os.getpid())]


def _is_left_over(pid: int, config: Path) -> bool:
    words = _text(pid, "cmdline").split("\0")
    return ("--config", str(config)) in itertools.pairwise(words) and not _has_its_alto(pid)


def _has_its_alto(pid: int) -> bool:
    """Whether its parent is another program like this one: who is killed leaves its children to init."""
    try:
        parent = int(_text(pid, "stat").rpartition(")")[2].split()[1])
        return parent != os.getpid() and os.readlink(PROC / str(parent) / "exe") == os.readlink(PROC / "self/exe")
    except (OSError, LookupError, ValueError):
        return False


def _end(pid: int, config: Path) -> bool:
    """By a handle that cannot come to mean another process: what is left over is looked at again through it."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            if _is_left_over(pid, config):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False


def _text(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""
