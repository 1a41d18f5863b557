"""An event loop whose time jumps to the next timer: two hours of backoff take milliseconds.

It looks ahead only when nothing is ready. When nothing is ready and nothing is scheduled, the story would hang for
ever: that is told at once instead.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingScheduled(AssertionError):
    """Every task waits for something that nobody is going to do."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for `timeout`, moves the loop's clock by it."""

    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingScheduled("nothing is scheduled: the story waits for ever")
        self.loop.now_s += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s, so that a time of 0 cannot pass for a time that was set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s


class LoopClock:
    """`ports.Clock` that tells the running loop's time; the wall clock says 2026."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def time(self) -> float:
        return 1_795_000_000.0 + asyncio.get_running_loop().time()


def run_jumping(coro: Coroutine[Any, Any, T], *, within_s: float = 1e9) -> T:
    """Run `coro` in virtual time; fails when it takes more than `within_s` virtual seconds."""
    loop = JumpingLoop()
    try:
        return loop.run_until_complete(asyncio.wait_for(coro, within_s))
    finally:
        _close(loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
