"""Native calls that must be let go on when nobody waits for them any more.

Cancelling the SDK's connect and then having it succeed panics its native part, which ends the process (seen with
livekit 1.2.1). So each runs in a task of its own that only this module holds: who waits may give up, the call goes
on, and a success that nobody waits for is closed. `unfinished()` tells the process exit what it would interrupt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import structlog

log = structlog.get_logger()

SELF_EVICTION_S: Final = 5.0  # a session's end reaches us this long after the late join that caused it, at most

_running: set[asyncio.Task[None]] = set()
_abandoned: set[asyncio.Task[None]] = set()
_late_success_s: float = float("-inf")  # on the loop's clock


def unfinished() -> int:
    """How many native connects and leaves have not ended. Ending the process now would interrupt them."""
    return len(_running)


def may_have_evicted_ourselves() -> bool:
    """Whether an attempt that was given up may just have joined in our place: same identity, the later one wins."""
    now_s = asyncio.get_running_loop().time()
    return bool(_abandoned) or 0.0 <= now_s - _late_success_s < SELF_EVICTION_S


async def connect(
    work: Coroutine[object, object, None], *, deadline_s: float, undo: Callable[[], Awaitable[None]]
) -> None:
    """Wait for `work` for `deadline_s`. TimeoutError after that, whatever `work` raises before.

    When the deadline passes or the caller is cancelled, `work` goes on; if it then succeeds, `undo` is awaited.
    """
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = _own(_attempt(work, outcome, undo), "native-connect")
    try:
        await asyncio.wait({outcome}, timeout=deadline_s)
    except asyncio.CancelledError:
        _give_up(task, outcome, undo)
        raise
    if not outcome.done():
        _give_up(task, outcome, undo)
        raise TimeoutError
    outcome.result()


async def leave(work: Coroutine[object, object, None], *, deadline_s: float) -> bool:
    """Wait for `work` for `deadline_s`; afterwards it goes on alone. True when it ended in time. Never raises."""
    task = _own(_quietly(work), "native-leave")
    done, _ = await asyncio.wait({task}, timeout=deadline_s)
    return bool(done)


async def _attempt(
    work: Coroutine[object, object, None], outcome: asyncio.Future[None], undo: Callable[[], Awaitable[None]]
) -> None:
    try:
        await work
    except Exception as err:
        if not outcome.done():
            outcome.set_exception(err)
        return
    if outcome.done():
        await _close_late(undo)
    else:
        outcome.set_result(None)


def _give_up(task: asyncio.Task[None], outcome: asyncio.Future[None], undo: Callable[[], Awaitable[None]]) -> None:
    if outcome.done():  # it came in at the very moment of giving up
        if not outcome.cancelled() and outcome.exception() is None:
            _own(_close_late(undo), "native-undo")
        return
    outcome.cancel()
    _abandoned.add(task)
    task.add_done_callback(_abandoned.discard)


async def _close_late(undo: Callable[[], Awaitable[None]]) -> None:
    global _late_success_s
    _late_success_s = asyncio.get_running_loop().time()
    log.debug("connect.late")
    await _quietly(undo())


async def _quietly(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as err:
        log.debug("native.failed", error=type(err).__name__)


def _own(work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task
