"""Async tests without a plugin: `run(story())` inside an ordinary test function."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coro: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
    """Run `coro` on an event loop of its own. Fails, with the stacks of all tasks, after `timeout_s`."""
    return asyncio.run(_bounded(coro, timeout_s))


async def _bounded(coro: Coroutine[Any, Any, T], timeout_s: float) -> T:
    story = asyncio.ensure_future(coro)
    try:
        done, _ = await asyncio.wait({story}, timeout=timeout_s)
        if done:
            return story.result()
        stacks = _stacks()
    finally:
        if not story.done():
            story.cancel()
            await asyncio.wait({story}, timeout=5.0)
    raise AssertionError(f"the story did not end within {timeout_s:g} s; where its tasks stood:\n{stacks}")


def _stacks() -> str:
    out = io.StringIO()
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.print_stack(file=out)
    return out.getvalue()
