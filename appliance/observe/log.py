"""One JSON object a line on standard output, and nothing that can hold the appliance up.

`configure` once, early. After it, `structlog.get_logger()` writes here, and so do the standard logging tree, warnings
and everything that nobody caught. The calling thread renders and appends; `LinePipe` does the rest.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

from appliance.observe.crashes import BugReporter
from appliance.observe.library import LibraryHandler, capture
from appliance.observe.lines import SEVERITY, ConsoleLines, json_line, with_traceback
from appliance.observe.pipe import LinePipe
from appliance.observe.redact import redact
from appliance.observe.values import error_text

__all__ = ["LogPipe", "configure", "redact"]

EXIT_FLUSH_S: Final = 0.5  # a stuck reader may not hold up an exit that systemd waits for


class LogPipe:
    """What the process's log can be told while it runs. Any thread."""

    def __init__(self, fd: int, *, level: str, console: bool, colours: bool, journal: bool) -> None:
        self.level = level
        self._always: Mapping[str, Any] = {}
        self._journal = journal
        self._line = ConsoleLines(colours=colours).line if console else json_line
        self._pipe = LinePipe(fd, loss_line=self._loss_line)
        self._bugs = BugReporter(emit=self.emit, monotonic=time.monotonic)
        self._library = LibraryHandler(emit=self.emit, monotonic=time.monotonic)

    def bind(self, **fields: Any) -> None:
        """Add these to the end of every line from now on, e.g. whose line it is. A line's own field of the same name
        wins."""
        self._always = fields

    def emit(self, level: str, event: str, fields: MutableMapping[str, Any]) -> None:
        """Write one event when its level is high enough. Never blocks, never raises."""
        if SEVERITY[level] < SEVERITY[self.level]:
            return
        try:
            line = self._render(level, event, fields)
        except Exception as error:  # a log line must never be what breaks its caller
            line = self._render("error", "bug", {"where": f"log line {event}", "error": error_text(error)})
        self._pipe.write(line)

    def set_level(self, level: str) -> None:
        """Write from this level on: debug, info, warning or error."""
        if level not in SEVERITY:
            raise ValueError(f"log level {level!r}; use one of {', '.join(SEVERITY)}")
        self.level = str(level)
        capture(self._library, self.level)

    def watch_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have what goes wrong unseen on this event loop logged as `bug`."""
        self._bugs.watch_loop(loop)

    def report_bug(self, where: str, error: BaseException) -> None:
        """Log an exception of no known class as `bug`; the same one a few times a minute at most."""
        self._bugs.report(where, error)

    @property
    def lines_dropped(self) -> int:
        """Lines that nobody took since the start."""
        return self._pipe.lines_dropped

    def flush(self, deadline_s: float = EXIT_FLUSH_S) -> bool:
        """Wait for the writer, this long at most. False: the reader did not take it all."""
        return self._pipe.flush(deadline_s)

    def close(self, deadline_s: float = EXIT_FLUSH_S) -> None:
        """Write what waits, this long at most, and stop. Idempotent."""
        atexit.unregister(self.flush)
        self._pipe.close(deadline_s)

    def _render(self, level: str, event: str, fields: MutableMapping[str, Any]) -> bytes:
        always = {name: value for name, value in self._always.items() if name not in fields}
        return self._line(time.time(), level, event, with_traceback({**fields, **always}), prefix=self._journal)

    def _loss_line(self, lines: int) -> bytes:
        return self._render("warning", "log.dropped", {"lines": lines})

    def _install(self) -> None:
        capture(self._library, self.level)
        self._bugs.install()
        atexit.register(self.flush)


def configure(*, level: str, format: str = "auto", stream_fd: int = 1, env: Mapping[str, str] = os.environ) -> LogPipe:
    """Send all logging of this process to `stream_fd`. Call once, on the main thread.

    `format` is auto, json or console; auto is console on a terminal. With `JOURNAL_STREAM` naming the descriptor,
    lines start with the journal's `<priority>`.
    """
    _ensure_open(stream_fd)
    terminal = os.isatty(stream_fd)
    pipe = LogPipe(
        stream_fd,
        level=str(level),
        console=format == "console" or (format == "auto" and terminal),
        colours=terminal and not env.get("NO_COLOR") and env.get("TERM") != "dumb",
        journal=is_journal(stream_fd, env),
    )
    pipe._install()
    structlog.configure(
        processors=[_Final(pipe)],
        wrapper_class=structlog.make_filtering_bound_logger(0),  # the level is ours, so that it can change
        logger_factory=lambda *_: _Nowhere(),
        cache_logger_on_first_use=False,
    )
    return pipe


def is_journal(fd: int, env: Mapping[str, str]) -> bool:
    """Whether the descriptor is the journal's stream, as systemd.exec(5) says to find out."""
    try:
        stat = os.fstat(fd)
    except OSError:
        return False
    return env.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"


class _Final:
    """structlog's last processor: hands the event over and ends the chain."""

    def __init__(self, pipe: LogPipe) -> None:
        self._pipe = pipe

    def __call__(self, _logger: Any, method: str, fields: MutableMapping[str, Any]) -> str:
        event = str(fields.pop("event", ""))
        self._pipe.emit(method if method in SEVERITY else "info", event, fields)
        raise structlog.DropEvent


class _Nowhere:
    """The logger under structlog's wrapper; everything was written before it is reached."""


def _ensure_open(fd: int) -> None:
    """A missing standard output becomes /dev/null: otherwise the next socket would get its number, and our lines."""
    try:
        os.fstat(fd)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != fd:
            os.dup2(null, fd)
            os.close(null)
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # Python's habit; somebody may have undone it
