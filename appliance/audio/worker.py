"""`DeviceWorker`: opens and closes sound devices one after the other, because PortAudio is not re-entrant."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 1.5
"""How long a call may keep the next one waiting. The longest that is in order is a second (a device that is given
time to start). One that takes longer hangs in its driver, where PortAudio's own lists are not touched."""


class DeviceWorker:
    """Runs blocking device calls in order, each on a daemon thread named `audio-device`.

    A driver may hang in a call for ever. The process must be able to end all the same (hence daemons: the executors
    of the standard library are joined at exit), and the other direction's device must not wait for it.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._last = _Turn()
        self._last.begun.set()
        self._last.over.set()
        self._running: dict[_Turn, float] = {}  # since when, monotonic seconds

    @property
    def stuck_s(self) -> float:
        """How long the call that has been running longest has been at it; 0: none runs. Any thread."""
        return longest_s(self._running.values())

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call` after those submitted before, or beside one of them that hangs; awaitable on the loop thread.
        Cancelling the await does not stop a call that has begun, and drops one that has not."""
        future: Future[T] = Future()
        before, self._last = self._last, _Turn()
        arguments = (future, call, before, self._last)
        threading.Thread(target=self._run, args=arguments, name="audio-device", daemon=True).start()
        return asyncio.wrap_future(future)

    def _run(self, future: Future[T], call: Callable[[], T], before: _Turn, ours: _Turn) -> None:
        before.begun.wait()
        before.over.wait(self._patience_s)
        self._running[ours] = time.monotonic()
        ours.begun.set()
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(call())
        except BaseException as error:  # the caller gets it
            future.set_exception(error)
        finally:
            del self._running[ours]
            ours.over.set()


def longest_s(beginnings: Collection[float]) -> float:
    """How long ago the earliest of these was (monotonic seconds), which other threads may change; 0: there is none."""
    begun = list(beginnings)
    return time.monotonic() - min(begun) if begun else 0.0


class _Turn:
    """Where one call stands."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()
