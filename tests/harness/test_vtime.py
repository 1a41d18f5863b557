"""Time that jumps, leaps, and tells when it stands still."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.vtime import JumpingLoop, NothingScheduled, Spinning, run_jumping


def test_hours_of_sleep_take_no_time_and_each_wait_is_counted() -> None:
    loop = JumpingLoop()

    async def told() -> float:
        began_s = loop.time()
        for _ in range(3):
            await asyncio.sleep(3600.0)
        return loop.time() - began_s

    assert run_jumping(told(), loop=loop) == 3 * 3600.0
    assert loop.jumps == 3


def test_a_leap_moves_timers_along_with_time() -> None:
    loop = JumpingLoop()

    async def told() -> float:
        began_s = loop.time()
        loop.call_soon(loop.leap, 3600.0)
        await asyncio.sleep(5.0)
        return loop.time() - began_s

    assert run_jumping(told(), loop=loop) == pytest.approx(3605.0)


def test_going_round_and_round_within_one_moment_is_told() -> None:
    loop = JumpingLoop()

    def spin() -> None:
        loop.call_soon(spin)

    async def told() -> None:
        spin()
        await asyncio.sleep(1.0)

    with pytest.raises(Spinning):
        loop.run_until_complete(told())


def test_a_wait_for_what_nobody_does_is_told() -> None:
    loop = JumpingLoop()
    with pytest.raises(NothingScheduled):
        loop.run_until_complete(loop.create_future())
    loop.close()


def test_what_would_run_on_a_thread_runs_at_once_and_its_error_reaches_the_caller() -> None:
    async def told() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 42)

    assert run_jumping(told()) == 42
