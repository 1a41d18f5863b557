"""Device threads for stories in virtual time: one that takes no time, and one that hangs while a test wants it to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from tests.fakes.backend import Hang
from tests.harness.wait import until

T = TypeVar("T")

STUCK_S: Final = 5.0  # real seconds; a call that is not stuck is over at once


class InlineWorker:
    """`ports.BlockingCalls` that runs the call at once, on the loop thread."""

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)
        return future


class HangingWorker:
    """`ports.BlockingCalls` for a backend with a driver that hangs (`FakeBackend.hang`).

    A call that gets stuck in it is answered when it comes out, in `settle`; all others take no time. As with the real
    worker, calls that come after a stuck one run beside it.
    """

    def __init__(self) -> None:
        self.hang: Hang | None = None
        """The driver to look out for."""
        self.stuck: list[threading.Thread] = []
        self._answers: list[Callable[[], None]] = []

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def answer() -> None:
            try:
                result = call()
                self._answers.append(partial(future.set_result, result))
            except Exception as error:
                self._answers.append(partial(future.set_exception, error))

        thread = threading.Thread(target=answer, name="fake-device", daemon=True)
        thread.start()
        until(lambda: not thread.is_alive() or (self.hang and thread.ident in self.hang.inside), STUCK_S, "the call")
        if thread.is_alive():
            self.stuck.append(thread)
        self._give_answers()
        return future

    def settle(self) -> None:
        """The driver answers: what was stuck comes out."""
        assert self.hang is not None
        self.hang.answer()
        for thread in self.stuck:
            thread.join(STUCK_S)
        self._give_answers()

    def _give_answers(self) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()
