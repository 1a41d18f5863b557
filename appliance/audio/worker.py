"""`DeviceWorker`: the one thread that opens and closes sound devices, because PortAudio is not re-entrant."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class DeviceWorker:
    """Runs blocking device calls in order on a daemon thread named `audio-device`.

    A daemon, because a driver may hang in a call for ever: the process must be able to end all the same (the
    executors of the standard library are joined at exit).
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="audio-device", daemon=True).start()

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call` after those submitted before; awaitable on the loop thread. Cancelling the await does not stop
        a call that has begun, and drops one that has not."""
        future: Future[T] = Future()
        self._jobs.put((future, call))
        return asyncio.wrap_future(future)

    def _run(self) -> None:
        while True:
            future, call = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # the caller gets it; the worker must live
                future.set_exception(error)
