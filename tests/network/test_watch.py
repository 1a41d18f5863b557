"""The watch over what arrives, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from appliance.errors import Stalled
from appliance.network.watch import HEARD_S, LinkWatch
from appliance.ports import LinkStats
from tests.harness.vtime import LoopClock, run_jumping

NOTICED_S = 5.0


class Path:
    """A transport whose counter moves as the test says."""

    def __init__(self) -> None:
        self.received: Callable[[float], int | None] = lambda _: None
        self.sent: Callable[[float], int | None] = lambda _: None
        self.looks = 0
        self.changes = 0
        self.ended_by: list[Exception] = []
        self.watch = LinkWatch(
            stats=self._stats,
            sent=lambda: self.sent(asyncio.get_running_loop().time()),
            clock=LoopClock(),
            on_change=self._changed,
            on_mute=self.ended_by.append,
        )

    async def _stats(self) -> LinkStats:
        self.looks += 1
        return LinkStats(bytes_received=self.received(asyncio.get_running_loop().time()))

    def _changed(self) -> None:
        self.changes += 1


@asynccontextmanager
async def watched(received: Callable[[float], int | None]) -> AsyncIterator[Path]:
    path = Path()
    path.received = received
    path.watch.start()
    yield path
    await path.watch.close()
    await path.watch.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "link-watch"], "it goes on"


def test_a_path_that_moves_every_two_seconds_is_never_stalled_and_seldom_looked_at() -> None:
    async def story() -> None:
        async with watched(lambda now_s: int(now_s // 2.1)) as path:
            await asyncio.sleep(3600)
            assert path.changes == 0
            assert path.looks < 3600 * 1.5

    run_jumping(story())


@pytest.mark.parametrize("alive_s", [0.3, 10.0, 10.1, 10.9, 11.7])
def test_a_path_that_stands_still_is_noticed_within_5_s_and_moves_again_at_once(alive_s: float) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + alive_s
        async with watched(lambda now_s: int(min(now_s, end_s) * 50)) as path:
            await asyncio.sleep(alive_s + NOTICED_S)
            assert path.watch.is_stalled
            assert path.changes == 1
            path.received = lambda now_s: int(now_s * 50)
            await asyncio.sleep(0.5)
            assert not path.watch.is_stalled
            assert path.changes == 2

    run_jumping(story())


def test_a_session_without_a_transport_is_never_stalled() -> None:
    async def story() -> None:
        async with watched(lambda _: None) as path:
            await asyncio.sleep(600)
            assert path.changes == 0

    run_jumping(story())


def test_a_look_that_gives_nothing_is_no_news() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        blind_s = loop.time() + 10
        async with watched(lambda now_s: 5000 if now_s < blind_s else None) as path:
            await asyncio.sleep(2)
            path.watch.begin_anew()
            await asyncio.sleep(9 + HEARD_S)
            assert path.watch.is_stalled, "it stood still before nothing was known"
            await asyncio.sleep(60)
            assert path.watch.is_stalled, "not knowing is no sign of life"

    run_jumping(story())


def test_now_and_then_a_look_that_gives_nothing_hides_no_standstill() -> None:
    async def story() -> None:
        async with watched(lambda now_s: 5000 if int(now_s) % 2 else None) as path:
            await asyncio.sleep(NOTICED_S + 2)
            assert path.watch.is_stalled

    run_jumping(story())


def test_a_transport_that_comes_late_is_given_its_time() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time() + 60
        async with watched(lambda now_s: 5000 if now_s >= begin_s else None) as path:
            await asyncio.sleep(60 + HEARD_S - 0.1)
            assert path.changes == 0

    run_jumping(story())


def test_a_counter_that_goes_back_is_no_sign_of_life() -> None:
    async def story() -> None:
        async with watched(lambda now_s: 1_000_000 - int(now_s)) as path:
            await asyncio.sleep(NOTICED_S)
            assert path.watch.is_stalled

    run_jumping(story())


def test_a_counter_that_begins_again_is_heard_from_there_on() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        async with watched(lambda now_s: int(now_s)) as path:
            await asyncio.sleep(10)
            path.received = lambda now_s: int(now_s - start_s)
            await asyncio.sleep(60)
            assert path.changes == 0

    run_jumping(story())


def test_a_new_connection_of_the_sdks_is_given_its_time() -> None:
    async def story() -> None:
        async with watched(lambda _: 5000) as path:
            await asyncio.sleep(NOTICED_S)
            assert path.watch.is_stalled
            path.watch.begin_anew()
            assert not path.watch.is_stalled
            await asyncio.sleep(HEARD_S - 0.5)
            assert not path.watch.is_stalled

    run_jumping(story())


# ---- what goes out -------------------------------------------------------------------------------------------------


def test_frames_that_stop_to_go_out_end_the_session_once_and_soon() -> None:
    async def story() -> None:
        end_s = asyncio.get_running_loop().time() + 10
        async with watched(lambda now_s: int(now_s * 50)) as path:
            path.sent = lambda now_s: int(min(now_s, end_s) * 100)
            await asyncio.sleep(10)
            assert not path.ended_by
            await asyncio.sleep(NOTICED_S)
            assert [type(error) for error in path.ended_by] == [Stalled]
            await asyncio.sleep(60)
            assert len(path.ended_by) == 1

    run_jumping(story())


def test_a_loop_that_stood_still_is_no_microphone_that_did() -> None:
    """The first look after that may come before the pump's turn, and a close one soon after."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with watched(lambda now_s: int(now_s * 50)) as path:
            path.sent = lambda now_s: 5
            await asyncio.sleep(0.5)
            loop.now_s += 30  # type: ignore[attr-defined]
            await asyncio.sleep(0.3)
            path.sent = lambda now_s: int(now_s * 100)
            await asyncio.sleep(30)
            assert not path.ended_by

    run_jumping(story())


def test_a_session_that_only_listens_sends_nothing_and_is_well() -> None:
    async def story() -> None:
        async with watched(lambda now_s: int(now_s * 50)) as path:
            await asyncio.sleep(600)
            assert not path.ended_by

    run_jumping(story())
