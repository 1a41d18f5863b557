"""One suite for whether a server is there and whether anything arrives, on the fake and on the real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance.errors import AttemptTimedOut, Unreachable
from appliance.network.manager import LiveKitNetworkManager
from appliance.network.watch import HEARD_S
from appliance.ports import FrameSource, Link
from tests.contracts.rooms import RATE_HZ, SOON_S, World, both, both_mortal
from tests.harness.vtime import LoopClock
from tests.harness.wait import until_async
from tests.network.parts import Microphone, Mixer

NOTICED_S = 5.0
BACK_S = 3.0
MENDED_S = 15.0  # the SDK's pauses grow to 7 s


@both
def test_a_server_that_lives_answers_a_knock_and_tells_its_time(world: World) -> None:
    async def story() -> None:
        answer = await world.knock(world.url)
        assert answer.took_s < SOON_S
        assert answer.server_time == pytest.approx(world.wall_s(), abs=2.0)

    world.run(story())


@both
def test_where_nothing_listens_a_knock_says_so_at_once(world: World) -> None:
    async def story() -> None:
        with pytest.raises(Unreachable):
            await world.knock(world.deaf_url)

    world.run(story())


@both
def test_a_silent_server_costs_a_knock_its_patience_and_no_more(world: World) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with world.silence() as url:
            began_s = loop.time()
            with pytest.raises(AttemptTimedOut):
                await world.knock(url, timeout_s=0.1)
            assert loop.time() - began_s < 1.0

    world.run(story())


@both_mortal
def test_a_knock_follows_a_servers_life(mortal_world: World) -> None:
    world = mortal_world

    async def story() -> None:
        world.freeze()
        with pytest.raises(AttemptTimedOut):
            await world.knock(world.url, timeout_s=0.1)
        world.thaw()
        await world.knock(world.url)
        world.kill()
        with pytest.raises(Unreachable):
            await world.knock(world.url)
        world.start()
        await world.knock(world.url)

    world.run(story())


@both_mortal
@pytest.mark.parametrize("frames", [None, Microphone()], ids=["listens", "talks"])
def test_a_server_that_stands_still_is_noticed_and_its_return_too(
    mortal_world: World, frames: FrameSource | None
) -> None:
    """Alone in the room, because nothing is quieter."""
    world = mortal_world

    async def story() -> None:
        async with in_the_room(world, frames) as (manager, seen):
            await asyncio.sleep(2 * HEARD_S)
            assert Link.RECOVERING not in seen, "a quiet room was taken for a dead link"
            world.freeze()
            await until_async(lambda: manager.link is Link.RECOVERING, NOTICED_S, "the stillness to be noticed")
            assert manager.recovering_why == "media_stalled"
            world.thaw()
            await until_async(lambda: manager.link is Link.UP, BACK_S, "the link to be up again")
            assert manager.recovering_why == ""
            assert manager.get_metrics()["reconnects"] == 0

    world.run(story())


@both_mortal
def test_a_connection_that_the_sdk_mended_counts_from_there_on(mortal_world: World) -> None:
    world = mortal_world

    async def story() -> None:
        async with in_the_room(world, Microphone()) as (manager, seen):
            world.kill()
            await until_async(lambda: manager.link is Link.RECOVERING, NOTICED_S, "the break to be noticed")
            assert manager.recovering_why == "connection_lost"
            world.start()
            await until_async(lambda: manager.link is Link.UP, MENDED_S, "the link to be up again")
            seen.clear()
            await asyncio.sleep(HEARD_S + 1.5)
            assert manager.link is Link.UP
            assert Link.RECOVERING not in seen, "the new connection was held against the old one's counters"
            assert manager.get_metrics()["reconnects"] == 1

    world.run(story())


@contextlib.asynccontextmanager
async def in_the_room(
    world: World, frames: FrameSource | None
) -> AsyncIterator[tuple[LiveKitNetworkManager, list[Link]]]:
    """A session, and its link each time that it may have changed."""
    seen: list[Link] = []
    manager = LiveKitNetworkManager(
        room_factory=world.room,
        sink=Mixer(),
        frames=frames,
        sample_rate=RATE_HZ,
        max_streams=8,
        clock=LoopClock(),
        knock=world.knock,
        on_change=lambda: seen.append(manager.link),
    )
    await manager.connect(world.url, world.token("kitchen"))
    await manager.publish()
    try:
        yield manager, seen
    finally:
        world.thaw()
        await manager.disconnect()
