"""The device thread: one call after the other, unless one hangs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from appliance.audio.worker import DeviceWorker
from tests.harness.aio import run
from tests.harness.wait import until


def test_calls_run_one_after_the_other_and_not_on_the_loop_thread() -> None:
    order: list[str] = []
    threads: set[str] = set()

    def call(name: str, gate: threading.Event | None = None) -> str:
        order.append(f"{name} begins")
        threads.add(threading.current_thread().name)
        if gate:
            gate.wait(5)
        order.append(f"{name} ends")
        return name

    async def story() -> None:
        worker, gate = DeviceWorker(), threading.Event()
        first, second = worker.submit(lambda: call("first", gate)), worker.submit(lambda: call("second"))
        asyncio.get_running_loop().call_later(0.05, gate.set)
        assert await asyncio.gather(first, second) == ["first", "second"]

    run(story())
    assert order == ["first begins", "first ends", "second begins", "second ends"]
    assert threads == {"audio-device"}


def test_a_call_that_hangs_keeps_the_others_waiting_for_a_while_only() -> None:
    async def story() -> None:
        worker, never = DeviceWorker(patience_s=0.03), threading.Event()
        hung = worker.submit(lambda: never.wait(5))
        assert await asyncio.wait_for(worker.submit(lambda: "done"), 1) == "done"
        assert not hung.done()
        never.set()
        assert await hung

    run(story())


def test_it_tells_how_long_a_call_has_not_returned() -> None:
    async def story() -> None:
        worker, never = DeviceWorker(patience_s=0.03), threading.Event()
        assert worker.stuck_s == 0
        since_s = time.monotonic()
        hung = worker.submit(lambda: never.wait(5))
        assert await worker.submit(lambda: worker.stuck_s) >= 0.03, "the other one's, not its own"
        assert 0.03 <= worker.stuck_s <= time.monotonic() - since_s
        never.set()
        assert await hung
        until(lambda: worker.stuck_s == 0, 1.0, "the thread to end")

    run(story())


def test_an_error_goes_to_who_asked_and_the_next_call_runs() -> None:
    def fails() -> None:
        raise OSError("pulled")

    async def story() -> None:
        worker = DeviceWorker()
        with pytest.raises(OSError, match="pulled"):
            await worker.submit(fails)
        assert await worker.submit(lambda: 1) == 1

    run(story())
