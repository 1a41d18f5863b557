"""What native sound libraries print on standard error, kept away from there and told to who asks.

PortAudio prints each check that failed (at the abort of a pulled card, for each format that a device refuses) and has
no switch for it; what matters of them is in the error that we raise. Standard error is the whole process's, so the
care: it is turned aside only while such a call runs, a line that somebody else wrote meanwhile is passed on, and where
there is no standard error nothing is done. A pump that stands there for ever would cost the last words of a native
part that aborts: they would lie unread in its pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import threading
from collections.abc import Iterator
from typing import Final

library = logging.getLogger("portaudio")  # not ours: told as `library.log`

STDERR: Final = 2
KEPT_BYTES: Final = 16384  # of one call; a refused format makes 300

_OURS: Final = re.compile(rb"Expression '|ALSA lib |jack|Jack|JACK|Cannot connect to server|PulseAudio: ")

_turning: Final = threading.Lock()
"""One at a time: two that overlap would put back each other's file."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' lines off standard error while the block runs; they go to the log at debug. Any thread but
    an audio thread; one that finds another inside prints as ever."""
    if not _turning.acquire(blocking=False):
        yield
        return
    lines: list[bytes] = []
    try:
        with _turned_aside(lines):
            yield
    finally:
        _tell(lines)
        _turning.release()


@contextlib.contextmanager
def _turned_aside(lines: list[bytes]) -> Iterator[None]:
    """Standard error into memory; what was written there is in `lines` after the block."""
    try:
        kept = os.dup(STDERR)
    except OSError:  # closed: nothing can be printed
        yield
        return
    aside = os.memfd_create("stderr")
    # Two threads that write at once would write to the same place: of a file in memory the kernel guards no position.
    fcntl.fcntl(aside, fcntl.F_SETFL, os.O_APPEND)
    try:
        os.dup2(aside, STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        lines += os.pread(aside, KEPT_BYTES, 0).splitlines(keepends=True)
        os.close(kept)
        os.close(aside)


def _tell(lines: list[bytes]) -> None:
    for line in lines:
        if _OURS.search(line):
            library.debug("%s", line.decode(errors="replace").strip())
        else:
            with contextlib.suppress(OSError):
                os.write(STDERR, line)
