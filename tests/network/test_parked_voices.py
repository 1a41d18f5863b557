"""What a parked voice costs on the wire: nothing, also after the connection was mended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from livekit import rtc

from appliance.network import stats as counters
from appliance.network.livekit_room import LiveKitRoom
from tests.contracts.rooms import Listener, RealWorld, comes, joined, talking, tone
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.harness.wait import until_async

pytestmark = [pytest.mark.server, pytest.mark.slow]

LOOK_S = 0.5
STILL_S = 15.0
MENDED_S = 30.0


async def packets(station: LiveKitRoom, sid: str) -> int | None:
    """How many came of one track since it was subscribed; None when it is not."""
    publication = station._publication(sid)
    if publication is None or not isinstance(publication.track, rtc.RemoteAudioTrack):
        return None
    reading = counters.read(await publication.track.get_stats())
    return sum(one.packets_received for one in reading.inbound.values())


async def grows(station: LiveKitRoom, sid: str) -> bool | None:
    before = await packets(station, sid)
    await asyncio.sleep(LOOK_S)
    after = await packets(station, sid)
    return None if before is None or after is None else after > before


@contextlib.asynccontextmanager
async def two_talk_and_one_is_played(world: RealWorld) -> AsyncIterator[tuple[LiveKitRoom, Listener]]:
    async with (
        joined(world, "bob", talks=True, most=1) as (bob, _),
        joined(world, "carol", talks=True, most=1) as (carol, _),
        joined(world, "kitchen", most=1) as (station, ears),
        talking(bob, tone()),
        talking(carol, tone()),
    ):
        assert isinstance(station, LiveKitRoom)
        await comes(lambda: ears.voices and station.parked, "one that is played and one that is not", ears)
        yield station, ears


async def only_the_played_one_is_sent(station: LiveKitRoom, ears: Listener) -> None:
    async def so() -> bool:
        (played,) = ears.voices  # at each look: the server may just have noticed the other one
        (parked,) = set(station._seats.all) - {played}
        return await grows(station, played) is True and await grows(station, parked) is False

    await until_async(so, STILL_S, "the server to send the one voice and nothing of the other")


def test_of_a_parked_voice_nothing_is_sent_until_it_is_played(livekit_server: LiveKitServer) -> None:
    async def story() -> None:
        async with two_talk_and_one_is_played(RealWorld(livekit_server)) as (station, ears):
            await only_the_played_one_is_sent(station, ears)
            station.set_max_streams(2)
            for sid in station._seats.all:
                await until_async(lambda sid=sid: grows(station, sid), STILL_S, "both voices")

    run(story(), timeout_s=90)


def test_after_a_mended_connection_a_parked_voice_is_not_sent_either(fresh_livekit_server: LiveKitServer) -> None:
    async def story() -> None:
        async with two_talk_and_one_is_played(RealWorld(fresh_livekit_server)) as (station, ears):
            await only_the_played_one_is_sent(station, ears)
            fresh_livekit_server.kill()
            await comes(lambda: "reconnecting" in ears.told, "the break", ears)
            await asyncio.to_thread(fresh_livekit_server.start)
            await until_async(lambda: "reconnected" in ears.told, MENDED_S, "the mended connection")
            await until_async(lambda: ears.voices and station.parked, MENDED_S, "both, one of them parked")
            await only_the_played_one_is_sent(station, ears)

    run(story(), timeout_s=120)
