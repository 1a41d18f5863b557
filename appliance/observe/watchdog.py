"""The process ends when it stands still, with or without systemd, and its next start tells where it stood.

Python's own watchdog thread is C: it ends the process even when a native call never returns and holds the
interpreter's lock, and first writes where every thread stands. These last words go to a file in the state directory,
or to standard error where none can be made. Whoever started the process starts it again (Restart=always).
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog

log = structlog.get_logger()

WATCHDOG_S: Final = 15.0
"""Longer than any step that the supervisor waits for without a look (a few seconds), and with a beat of one second
well within the 20 s after which a person would pull the plug."""

SOONEST_S: Final = 0.05  # a time that is over cannot be armed
READ_BYTES: Final = 1024 * 1024  # more than a hundred threads of a hundred lines, where Python itself stops
TOLD_CHARS: Final = 6000  # fits a log line whole; the end is the main thread's, where the event loop stood
STDERR: Final = 2


class Arm(Protocol):
    """`faulthandler.dump_traceback_later`: starts a thread of C, and ends the one of the call before."""

    def __call__(self, timeout: float, *, exit: bool, file: int) -> None: ...


class Watchdog:
    """`feed` it about once a second; the process ends with code 1 `WATCHDOG_S` after the last progress that it was
    told of. Main thread only."""

    def __init__(
        self,
        last_words: Path,
        *,
        arm: Arm = faulthandler.dump_traceback_later,
        disarm: Callable[[], None] = faulthandler.cancel_dump_traceback_later,
    ) -> None:
        self._path = last_words
        self._arm = arm
        self._disarm = disarm
        self._fd = _opened(last_words)
        self.bit = False
        """Whether the run before was ended by it; known after `tell`."""

    def tell(self) -> None:
        """Log the last words of the run before, if it had any, and forget them."""
        said = _read(self._path)
        if not said:
            return
        self.bit = True
        log.error("watchdog.bit", stack=said[-TOLD_CHARS:], fix="it goes on by itself; please report this log line")
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)

    def feed(self, idle_s: float = 0.0) -> None:
        """The last progress was `idle_s` ago. Never raises."""
        with contextlib.suppress(RuntimeError):  # no thread to be had: systemd's watchdog is left
            self._arm(max(WATCHDOG_S - idle_s, SOONEST_S), exit=True, file=self._fd)

    def close(self) -> None:
        """The process ends by itself: no bite, and no file left behind. Idempotent."""
        self._disarm()
        if self._fd != STDERR:
            os.close(self._fd)
            self._fd = STDERR
            with contextlib.suppress(OSError):
                self._path.unlink()


def _opened(path: Path) -> int:
    """Opened beforehand: a process that hangs opens nothing."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return STDERR


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(READ_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""
