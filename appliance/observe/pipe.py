"""The way out for log lines that can never hold anybody up.

The caller appends to a bounded queue; one daemon thread writes. A reader that stalls, a pipe without a reader, a full
disk: lines are dropped and counted, and the first line that gets through again says how many.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

MOST_WAITING_BYTES: Final = 512 * 1024  # about 2,000 lines: minutes of a busy station, and little on a 512 MB board

_Item = bytes | threading.Event | None
"""A line, a flush that waits, or the end."""


class LinePipe:
    """Writes whole lines to a file descriptor from a thread of its own.

    `loss_line(n)` makes the line that reports n lost ones. When the queue is full, everything is refused until the
    writer has emptied it: the gap is then one gap, and its report stands exactly where the gap is.
    """

    def __init__(self, fd: int, *, loss_line: Callable[[int], bytes], room_bytes: int = MOST_WAITING_BYTES) -> None:
        self.fd = fd
        self.lines_dropped = 0
        self._loss_line = loss_line
        self._room_bytes = room_bytes
        self._queue: SimpleQueue[_Item] = SimpleQueue()  # its put() may interrupt itself (finalizers log too)
        self._lock = threading.RLock()  # for the same reason reentrant; held for a few additions
        self._waiting_bytes = 0
        self._unreported = 0
        self._full = False
        self._broken = False
        self._mid_line = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Queue one line with its line end. Any thread. Never blocks, never raises."""
        with self._lock:
            if self._closed or self._full or self._waiting_bytes + len(line) > self._room_bytes:
                self._full = not self._closed
                self._lose()
                return
            self._waiting_bytes += len(line)
        self._queue.put(line)

    def flush(self, deadline_s: float) -> bool:
        """Wait until all that was queued before is written or lost. False when the deadline came first."""
        if not self._thread.is_alive():
            return self._queue.empty()
        done = threading.Event()
        self._queue.put(done)
        return done.wait(deadline_s)

    def close(self, deadline_s: float) -> None:
        """Flush, then end the thread if the reader lets it. Later lines are dropped and counted. Idempotent."""
        flushed = self.flush(deadline_s)
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        if flushed:
            self._thread.join(deadline_s)

    # ---- the writer's thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._deliver(item)
            if self._queue.empty():
                self._reopen()
        self._release_waiters()

    def _deliver(self, line: bytes) -> None:
        if self._broken:
            self._report_loss()
        if not self._broken:
            self._broken = not self._put(line)
        with self._lock:
            self._waiting_bytes -= len(line)
            if self._broken:
                self._lose()

    def _reopen(self) -> None:
        if self._unreported and not self._broken:
            self._report_loss()
        with self._lock:
            self._full = False
            if self._queue.empty():
                self._waiting_bytes = 0

    def _report_loss(self) -> None:
        lost = self._unreported
        self._broken = not self._put(self._loss_line(lost))
        if not self._broken:
            with self._lock:
                self._unreported -= lost

    def _lose(self) -> None:
        self.lines_dropped += 1
        self._unreported += 1

    def _release_waiters(self) -> None:
        while True:
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if isinstance(item, threading.Event):
                item.set()

    def _put(self, line: bytes) -> bool:
        """Write it all, however long that takes. False: it cannot be written now (no reader, disk full, closed)."""
        rest = memoryview(b"\n" + line if self._mid_line else line)
        while rest:
            try:
                written = os.write(self.fd, rest)
            except BlockingIOError:  # somebody made the descriptor non-blocking (a shared terminal)
                self._until_writable()
                continue
            except InterruptedError:
                continue
            except (OSError, ValueError):
                return False
            rest = rest[written:]
            self._mid_line = bool(rest)  # if the rest fails, the next line starts on a line of its own
        return True

    def _until_writable(self) -> None:
        writable = select.poll()
        writable.register(self.fd, select.POLLOUT)
        writable.poll(1000)
