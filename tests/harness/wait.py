"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, overload

T = TypeVar("T")

Story = str | Callable[[], str]
"""What is waited for, in words; a callable is asked when the wait has failed, so that it can tell how things stand."""

POLL_S: Final = 0.005  # fine enough that a wait adds nothing to a measurement in tens of milliseconds


def until(condition: Callable[[], T], deadline_s: float, what: Story) -> T:
    """Poll `condition` until it is true and return what it returned. Fails with `what` after `deadline_s`.

    An AssertionError or LookupError that the condition raises counts as "not yet" and is told in the failure.
    """
    end = time.monotonic() + deadline_s
    while True:
        last, value = _ask(condition)
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(_failure(what, deadline_s, last))
        time.sleep(POLL_S)


@overload
async def until_async(condition: Callable[[], Awaitable[T]], deadline_s: float, what: Story) -> T: ...


@overload
async def until_async(condition: Callable[[], T], deadline_s: float, what: Story) -> T: ...


async def until_async(condition: Callable[[], object], deadline_s: float, what: Story) -> object:
    """`until` on the event loop; the condition may be a coroutine function."""
    end = asyncio.get_running_loop().time() + deadline_s
    while True:
        last, value = _ask(condition)
        if inspect.isawaitable(value):
            value = last = await value
        if value:
            return value
        if asyncio.get_running_loop().time() >= end:
            raise AssertionError(_failure(what, deadline_s, last))
        await asyncio.sleep(POLL_S)


def _ask(condition: Callable[[], T]) -> tuple[object, T | None]:
    try:
        value = condition()
    except (AssertionError, LookupError) as error:
        return error, None
    return value, value


def _failure(what: Story, deadline_s: float, last: object) -> str:
    words = what() if callable(what) else what
    return f"waited {deadline_s:g} s for {words}; the last look gave {last!r}"
