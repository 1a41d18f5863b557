"""More voices than a room's listener wants: which it is told of, on the fake and on the real SDK."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np

from appliance.ports import RemoteVoice, RoomConnection
from tests.contracts.rooms import Listener, World, both, both_and_publicly, comes, joined, talking, tone
from tests.harness.aio import run

PEOPLE = ("kitchen", "porch", "garden", "attic")


@contextlib.asynccontextmanager
async def crowd(world: World, most: int) -> AsyncIterator[tuple[dict[str, RoomConnection], RoomConnection, Listener]]:
    """Everybody with an open microphone, and one who listens to `most` of them at once."""
    async with contextlib.AsyncExitStack() as stack:
        rooms: dict[str, RoomConnection] = {}
        for who in PEOPLE:
            rooms[who], _ = await stack.enter_async_context(joined(world, who, talks=True, most=1))
        station, ears = await stack.enter_async_context(joined(world, "station", most=most))
        await comes(lambda: len(ears.voices) + len(station.parked) == len(PEOPLE), "everybody", ears)
        yield rooms, station, ears


def heard(ears: Listener) -> set[str]:
    return {voice.identity for voice in ears.voices.values()}


async def loud(voice: RemoteVoice) -> None:
    async for frame in voice.frames():
        if np.abs(frame.astype(int)).max() > 4000:
            return


async def speaks(who: str, world: World, room: RoomConnection, ears: Listener) -> None:
    """`who` says something until it is heard, and is silent again."""
    async with talking(room, tone()):
        world.notice(who)
        voice = await comes(lambda: ears.voice_of(who), f"the voice of {who}", ears)
        await asyncio.wait_for(loud(voice), 5.0)
    world.notice()


@both_and_publicly
def test_of_more_voices_than_wanted_those_are_played_that_spoke_last(world: World) -> None:
    async def story() -> None:
        async with crowd(world, most=2) as (rooms, station, ears):
            first = heard(ears)
            assert len(first) == 2
            assert set(station.parked) == set(PEOPLE) - first
            one, other = station.parked
            await speaks(one, world, rooms[one], ears)
            assert len(ears.voices) == 2
            assert one not in station.parked
            await speaks(other, world, rooms[other], ears)
            assert heard(ears) == {one, other}, "who spoke stays, who never spoke makes way"
            assert set(station.parked) == first
            back = station.parked[0]
            await speaks(back, world, rooms[back], ears)
            assert heard(ears) == {other, back}, "who has been silent longest makes way"

    run(story(), timeout_s=90)


@both
def test_a_place_that_becomes_free_is_taken_and_a_microphone_that_is_switched_on_takes_one(world: World) -> None:
    async def story() -> None:
        async with crowd(world, most=3) as (rooms, station, ears):
            (waits,) = station.parked
            leaves = next(iter(heard(ears)))
            world.mute(rooms[leaves], True)
            await comes(lambda: heard(ears) == set(PEOPLE) - {leaves}, "the one who waited", ears)
            assert station.parked == ()
            world.mute(rooms[leaves], False)
            await comes(lambda: leaves in heard(ears), "the one who switched the microphone on", ears)
            assert len(ears.voices) == 3
            assert len(station.parked) == 1
            await rooms[waits].disconnect()
            await comes(lambda: not station.parked, "nobody to wait", ears)
            await comes(lambda: heard(ears) == set(PEOPLE) - {waits}, "everybody else", ears)

    run(story(), timeout_s=90)


@both
def test_more_and_fewer_voices_count_at_once(world: World) -> None:
    async def story() -> None:
        async with crowd(world, most=1) as (rooms, station, ears):
            assert len(ears.voices) == 1
            station.set_max_streams(4)
            assert heard(ears) == set(PEOPLE)
            assert station.parked == ()
            async with talking(rooms["attic"], tone()):
                world.notice("attic")
                station.set_max_streams(1)
                await comes(lambda: heard(ears) == {"attic"}, "the one who speaks, alone", ears)
            assert len(station.parked) == 3

    run(story(), timeout_s=90)
