"""An event loop whose time jumps to the next timer: two hours of backoff take milliseconds.

It looks ahead only when nothing is ready. When nothing is ready and nothing is scheduled, the story would hang for
ever: that is told at once instead, and so is one that goes round and round without time passing. What would run on a
thread of the default executor runs at once: a thread would take no virtual time, and make each run another one.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

SPINS: Final = 10_000  # rounds within one moment; a hundred stations that start together need some two thousand
SELF_PIPE: Final = 1  # the loop's own file descriptor, which nobody needs without threads


class NothingScheduled(AssertionError):
    """Every task waits for something that nobody is going to do."""


class Spinning(AssertionError):
    """Something runs over and over, and time stands still."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for `timeout`, moves the loop's clock by it."""

    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if len(self.get_map()) > SELF_PIPE and (ready := super().select(0)):
            return ready
        if timeout:
            self.loop.jump(timeout)
        elif timeout is None and not self.loop.has_ready():
            raise NothingScheduled("nothing is scheduled: the story waits for ever")
        else:
            self.loop.go_round()
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """Starts at 1000 s, so that a time of 0 cannot pass for a time that was set."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.jumps = 0
        """How often it had nothing to do but to wait; on a real machine each is a wake-up of the processor."""
        self._rounds = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now_s

    def leap(self, seconds: float) -> None:
        """Move time and every timer ahead together: nothing runs, and nothing is late afterwards."""
        self.now_s += seconds
        for timer in self._timers:
            timer._when += seconds

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """What is scheduled and was not cancelled."""
        return [timer for timer in self._timers if not timer.cancelled()]

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """See the top of this file."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    # ---- what the selector asks

    def jump(self, seconds: float) -> None:
        self.now_s += seconds
        self.jumps += 1
        self._rounds = 0

    def go_round(self) -> None:
        self._rounds += 1
        if self._rounds > SPINS:
            self._rounds = 0
            raise Spinning(f"{SPINS} rounds of the loop within one moment")

    def has_ready(self) -> bool:
        return bool(self._ready)  # type: ignore[attr-defined]

    @property
    def _timers(self) -> list[Any]:
        return self._scheduled  # type: ignore[attr-defined,no-any-return]

    def _write_to_self(self) -> None:
        """Nobody sleeps in the selector, so nobody has to be woken."""


class LoopClock:
    """`ports.Clock` that tells the running loop's time; the wall clock says 2026, `wall_offset_s` aside."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop` spares asking for the running one each time."""
        self.wall_offset_s = 0.0
        self._loop = loop

    def monotonic(self) -> float:
        return (self._loop or asyncio.get_running_loop()).time()

    def time(self) -> float:
        return 1_795_000_000.0 + self.monotonic() + self.wall_offset_s


def run_jumping(coro: Coroutine[Any, Any, T], *, within_s: float = 1e9, loop: JumpingLoop | None = None) -> T:
    """Run `coro` in virtual time; fails when it takes more than `within_s` virtual seconds, or when something failed
    beside it and nobody took its error."""
    loop = loop or JumpingLoop()
    untaken: list[str] = []
    loop.set_exception_handler(lambda _loop, context: untaken.append(_told(context)))
    try:
        result = loop.run_until_complete(asyncio.wait_for(coro, within_s))
    finally:
        _close(loop)
    assert not untaken, untaken
    return result


def _told(context: dict[str, Any]) -> str:
    return f"nobody took this: {context.get('message')}: {context.get('exception')!r}"


def _close(loop: asyncio.AbstractEventLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
