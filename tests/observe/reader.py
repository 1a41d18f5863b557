"""The other end of a log: real pipes, read with a deadline."""

from __future__ import annotations

import fcntl
import json
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from appliance.observe.log import LogPipe, configure
from appliance.observe.redact import forget_registered


class Reader:
    """Reads log lines from a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._rest = b""

    def raw(self, timeout_s: float = 5.0) -> bytes:
        """The next line without its line end. Fails when none comes."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no whole line within {timeout_s:g} s; so far {self._rest!r}"
            chunk = os.read(self.fd, 65536)
            assert chunk, f"the log ended; so far {self._rest!r}"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def line(self, timeout_s: float = 5.0) -> dict[str, Any]:
        """The next line as JSON."""
        parsed: dict[str, Any] = json.loads(self.raw(timeout_s))
        return parsed

    def until(self, event: str) -> list[dict[str, Any]]:
        """All lines up to the first of that event, which is the last of the list."""
        lines = [self.line()]
        while lines[-1]["event"] != event:
            lines.append(self.line())
        return lines


@contextmanager
def logging_to_pipe(*, level: str = "info", format: str = "json", **more: Any) -> Iterator[tuple[LogPipe, Reader]]:
    """This process's log in a pipe of one page; afterwards as if nothing had been configured."""
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    with logging_to(write_fd, level=level, format=format, **more) as pipe:
        try:
            yield pipe, Reader(read_fd)
        finally:
            while not pipe.flush(0.01):
                drain(read_fd)
            pipe.close()
            os.close(read_fd)
            os.close(write_fd)


@contextmanager
def logging_to(fd: int, *, level: str = "info", format: str = "json", **more: Any) -> Iterator[LogPipe]:
    """This process's log on a descriptor; afterwards as if nothing had been configured."""
    with hooks_kept():
        pipe = configure(level=level, format=format, stream_fd=fd, **more)
        try:
            yield pipe
        finally:
            pipe.close(0.2)
            structlog.reset_defaults()
            forget_registered()


@contextmanager
def hooks_kept() -> Iterator[None]:
    """Give back what `configure` takes from the process."""
    import faulthandler
    import logging
    import sys
    import threading

    root = logging.getLogger()
    kept = (sys.excepthook, threading.excepthook, sys.unraisablehook, list(root.handlers), root.level)
    fatal = faulthandler.is_enabled()
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook, root.handlers, level = kept
        root.setLevel(level)
        logging.captureWarnings(False)
        logging.raiseExceptions = True
        if not fatal:
            faulthandler.disable()


def drain(fd: int) -> None:
    """Throw away what waits, so that a writer gets through."""
    while select.select([fd], [], [], 0)[0] and os.read(fd, 65536):
        pass
