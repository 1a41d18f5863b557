"""What libraries log through the standard logging tree, as events `library.log`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

from appliance.observe.folding import Folder

Emit = Callable[[str, str, dict[str, Any]], None]
"""(level, event, fields) → written. Never raises."""

_QUIET: Final = "asyncio"  # its debug lines tell of every selector


class LibraryHandler(logging.Handler):
    """Passes records on, the same message a few times a minute at most (the count of the folded ones follows)."""

    def __init__(self, *, emit: Emit, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._emit = emit
        self._monotonic = monotonic
        self._folder = Folder()
        self._inside = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record. Any thread. Never raises, and never logs about its own logging."""
        if getattr(self._inside, "busy", False):
            return
        self._inside.busy = True
        try:
            self._write(record)
        finally:
            self._inside.busy = False

    def _write(self, record: logging.LogRecord) -> None:
        message = _message(record)
        folded = self._folder.admit(f"{record.name} {record.levelno} {message}", self._monotonic())  # lock: Handler's
        if folded is None:
            return
        fields: dict[str, Any] = {"logger": record.name, "message": message}
        if folded:
            fields["folded"] = folded
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        self._emit(level_name(record.levelno), "library.log", fields)


def level_name(levelno: int) -> str:
    """The name among ours of a level of the standard library, in-between levels included."""
    for name, least in (("critical", 50), ("error", 40), ("warning", 30), ("info", 20)):
        if levelno >= least:
            return name
    return "debug"


def library_level(level: str) -> int:
    """From which level libraries are let through. Their info is about themselves, so it needs our debug."""
    return {"debug": logging.DEBUG, "error": logging.ERROR}.get(level, logging.WARNING)


def capture(handler: LibraryHandler, level: str) -> None:
    """Make `handler` the only one of the standard logging tree, warnings included."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(library_level(level))
    logging.getLogger(_QUIET).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.raiseExceptions = False


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().rstrip()
    except Exception:  # arguments that do not fit the text: show both
        return f"{record.msg!r} {record.args!r}"
