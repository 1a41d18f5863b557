"""Servers that an earlier run of ours left behind, known by the configuration that they were started with.

Where there is no setpriv, nothing ends the embedded server when alto is killed; it would hold its port against us.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import time
from pathlib import Path
from typing import Final

END_S: Final = 1.0  # a killed process is gone in a millisecond; a board whose disk hangs takes longer
PROC: Final = Path("/proc")


def end_all(config: Path) -> list[int]:
    """Kill each process that was started with this configuration file and whose alto is gone; returns their ids.

    Blocks for some hundredths of a second, one second if a process does not go. Another alto that runs keeps its own.
    """
    with contextlib.ExitStack() as handles:
        ended: dict[int, int] = {}
        for pid in _processes():
            if _is_left_over(pid, config) and (handle := _end(pid, config)) is not None:
                handles.callback(os.close, handle)
                ended[pid] = handle
        _until_gone(list(ended.values()))
    return list(ended)


def _until_gone(handles: list[int]) -> None:
    """A process loses its name a moment before its port: only its handle tells that all of it is gone."""
    deadline_s = time.monotonic() + END_S
    while handles and (left_s := deadline_s - time.monotonic()) > 0:
        gone, _, _ = select.select(handles, [], [], left_s)
        handles = [handle for handle in handles if handle not in gone]


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


def _end(pid: int, config: Path) -> int | None:
    """Its handle, when it was killed. By a handle that cannot come to mean another process: what is left over is looked
    at again through it."""
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        if _is_left_over(pid, config):
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return handle
        os.close(handle)
    return None


def _text(pid: int, name: str) -> str:
    try:
        return (PROC / str(pid) / name).read_text(errors="replace")
    except OSError:
        return ""
