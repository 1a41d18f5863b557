"""One suite for `ports.RoomConnection`, on the fake and on the real SDK: so the fake stays honest."""

from __future__ import annotations

import asyncio
import contextlib

import numpy as np
import pytest

from appliance.errors import AttemptTimedOut, Evicted, NetworkError, Policy, Rejected, ServerClosed, Unreachable
from appliance.network.livekit_room import pending_connects
from appliance.ports import RemoteVoice, Samples
from tests.contracts.rooms import (
    FRAME,
    RATE_HZ,
    SOON_S,
    Listener,
    RealWorld,
    World,
    both,
    both_and_publicly,
    both_mortal,
    comes,
    joined,
    talking,
    tone,
)
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.harness.wait import until_async

# ---- hearing each other ------------------------------------------------------------------------------------------


@both_and_publicly
def test_what_one_sends_the_other_hears_in_10_ms_frames(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (kitchen, _), joined(world, "porch") as (_, ears):
            voice = await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            assert voice.is_microphone
            async with talking(kitchen, tone()):
                async for frame in voice.frames():
                    assert frame.dtype == np.int16
                    assert frame.shape == (FRAME,)
                    if np.abs(frame.astype(int)).max() > 4000:
                        return

    run(story())


@both
def test_who_is_there_and_who_comes_is_told_once_and_before_the_voice(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (kitchen, first):
            async with joined(world, "porch", talks=True) as (porch, second):
                await comes(lambda: first.voice_of("porch"), "the porch's voice", first)
                await comes(lambda: second.voice_of("kitchen"), "the kitchen's voice", second)
                assert kitchen.participants == ("porch",)
                assert porch.participants == ("kitchen",)
            await comes(lambda: "left porch" in first.told, "the porch to leave", first)
            assert first.told == ["joined porch", "voice porch", "gone porch", "left porch"]
            assert second.told[:2] == ["joined kitchen", "voice kitchen"]
            assert kitchen.participants == ()

    run(story())


@both
def test_a_voice_that_nobody_reads_keeps_100_ms_and_counts_the_rest(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (kitchen, _), joined(world, "porch") as (_, ears):
            voice = await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            async with talking(kitchen, tone()):
                await comes(lambda: voice.dropped_frames >= 5, "dropped frames")
                waiting, frames = 0, voice.frames()
                with contextlib.suppress(TimeoutError):
                    while waiting < 50:
                        async with asyncio.timeout(0.002):  # a frame that waits comes at once, a fresh one in 10 ms
                            await anext(frames)
                        waiting += 1
                assert 8 <= waiting <= 13

    run(story())


@both
def test_a_voice_delivers_each_frame_to_whoever_wants_them_until_it_is_closed(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (kitchen, _), joined(world, "porch") as (_, ears):
            voice = await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            got: list[Samples] = []
            assert voice.deliver(got.append)
            async with talking(kitchen, tone()):
                await comes(lambda: any(np.abs(frame.astype(int)).max() > 4000 for frame in got), "its sound", ears)
                assert {(frame.dtype.name, frame.shape) for frame in got} == {("int16", (FRAME,))}
                assert voice.dropped_frames <= 10  # those from before, at most
                await voice.aclose()
                count = len(got)
                await asyncio.sleep(0.05)
                assert len(got) <= count + 1
            assert not voice.deliver(got.append)

    run(story())


@pytest.mark.server
@pytest.mark.slow
def test_without_the_ways_past_the_sdk_a_voice_delivers_nothing(livekit_server: LiveKitServer) -> None:
    world = RealWorld(livekit_server, direct=False)

    async def story() -> None:
        async with joined(world, "kitchen", talks=True), joined(world, "porch") as (_, ears):
            voice = await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            assert not voice.deliver(lambda _: None)

    run(story())


@both
def test_closing_a_voice_ends_its_frames(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True), joined(world, "porch") as (_, ears):
            voice = await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)

            async def listen() -> None:
                async for _ in voice.frames():
                    pass

            listening = asyncio.create_task(listen())
            await asyncio.sleep(0)
            await voice.aclose()
            await voice.aclose()
            await asyncio.wait_for(listening, 1.0)

    run(story())


@both
def test_a_muted_voice_is_closed_and_comes_back_when_it_speaks(world: World) -> None:
    async def story() -> None:
        async with (
            joined(world, "kitchen", talks=True) as (kitchen, _),
            joined(world, "porch", talks=True) as (porch, ears),
        ):
            await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            async with talking(kitchen, tone()):
                for _ in range(2):
                    world.mute(kitchen, True)
                    await comes(lambda: ears.voice_of("kitchen") is None, "the voice to go", ears)
                    assert porch.participants == ("kitchen",)
                    world.mute(kitchen, False)
                    voice = await comes(lambda: ears.voice_of("kitchen"), "the voice again", ears)
                async for frame in voice.frames():
                    if np.abs(frame.astype(int)).max() > 4000:
                        break
            world.mute(kitchen, True)
            await comes(lambda: ears.voice_of("kitchen") is None, "the voice to go", ears)
            async with joined(world, "garden") as (_, late):
                await comes(lambda: late.voice_of("porch"), "the other voice", late)
                assert late.voice_of("kitchen") is None

    run(story())


@both
def test_stats_tell_the_path_once_audio_flows(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (kitchen, _), joined(world, "porch") as (porch, ears):
            await comes(lambda: ears.voice_of("kitchen"), "the kitchen's voice", ears)
            async with talking(kitchen, tone()):

                async def known() -> bool:
                    link = await porch.stats()
                    return link.path == "udp host" and link.jitter_buffer_ms is not None

                await comes(known, "the statistics")
        assert (await porch.stats()).path == "", "a session that ended knows nothing"

    run(story())


# ---- not getting in ----------------------------------------------------------------------------------------------


@both
def test_an_address_where_nothing_listens_is_unreachable(world: World) -> None:
    async def story() -> None:
        with pytest.raises(Unreachable):
            await world.room().connect(world.deaf_url, world.token("kitchen"), Listener(), deadline_s=SOON_S)

    run(story())


@both
def test_a_wrong_token_is_rejected_and_a_person_is_asked(world: World) -> None:
    async def story() -> None:
        token = world.bad_token()
        with pytest.raises(Rejected) as refusal:
            await world.room().connect(world.url, token, Listener(), deadline_s=SOON_S)
        assert refusal.value.policy is Policy.ASK_HUMAN
        assert token not in str(refusal.value)

    run(story())


@both
def test_a_server_that_stays_silent_costs_the_deadline_and_no_more(world: World) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with world.silence() as url:
            began_s = loop.time()
            with pytest.raises(AttemptTimedOut):
                await world.room().connect(url, world.token("kitchen"), Listener(), deadline_s=0.2)
            assert loop.time() - began_s < 1.0
            await asyncio.sleep(0.05)  # a cancelled one would be gone by now
            assert world.pending() == 1, "the native connect was cancelled"

    run(story())
    assert pending_connects() == 0


@both
def test_a_caller_that_is_cancelled_leaves_the_native_connect_alone(world: World) -> None:
    async def story() -> None:
        async with world.silence() as url:
            attempt = asyncio.create_task(
                world.room().connect(url, world.token("kitchen"), Listener(), deadline_s=SOON_S)
            )
            await asyncio.sleep(0.02)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            await asyncio.sleep(0.05)  # a cancelled one would be gone by now
            assert world.pending() == 1, "the native connect was cancelled"

    run(story())
    assert pending_connects() == 0


@both
def test_a_token_without_the_right_to_talk_joins_and_cannot_publish(world: World) -> None:
    async def story() -> None:
        room = world.room()
        await room.connect(world.url, world.mute_token("kitchen"), Listener(), deadline_s=SOON_S)
        with pytest.raises(Rejected):
            await room.publish_microphone(rate_hz=RATE_HZ)
        await room.disconnect()

    run(story())


# ---- the end of a session ----------------------------------------------------------------------------------------


@both
def test_leaving_is_quick_quiet_and_may_be_done_twice(world: World) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with joined(world, "kitchen", talks=True) as (room, listener):
            began_s = loop.time()
            await room.disconnect()
            await room.disconnect()
            assert loop.time() - began_s < 1.0
            with pytest.raises(NetworkError):
                await room.send(tone())
            assert room.participants == ()
            assert "closed" not in listener.told, "whoever leaves is not told that it is over"

    run(story())


@both
def test_a_room_that_never_connected_can_be_left(world: World) -> None:
    async def story() -> None:
        await world.room().disconnect()

    run(story())


@both
def test_the_same_identity_evicts_the_one_before(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (room, first), joined(world, "kitchen") as (_, second):
            await comes(lambda: first.closed_by, "the end of the first session", first)
            assert isinstance(first.closed_by, Evicted)
            assert second.closed_by is None
            with pytest.raises(NetworkError):
                await room.send(tone())

    run(story())


@both
def test_whoever_is_removed_is_told_so(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen") as (_, listener):
            await world.remove("kitchen")
            await comes(lambda: listener.closed_by, "the end of the session", listener)
            assert isinstance(listener.closed_by, Evicted)

    run(story())


@both
def test_a_deleted_room_ends_the_session_until_the_next_try(world: World) -> None:
    async def story() -> None:
        async with joined(world, "kitchen") as (_, listener):
            await world.delete_room()
            await comes(lambda: listener.closed_by, "the end of the session", listener)
            assert isinstance(listener.closed_by, ServerClosed)
            assert listener.closed_by.policy is Policy.RETRY

    run(story())


@both_mortal
def test_a_server_that_is_killed_and_comes_back_leaves_one_voice_and_no_false_farewell(mortal_world: World) -> None:
    world = mortal_world

    async def story() -> None:
        async with (
            joined(world, "kitchen", talks=True) as (kitchen, first),
            joined(world, "porch", talks=True) as (porch, second),
            talking(kitchen, tone()),
            talking(porch, tone()),
        ):
            await comes(lambda: first.voice_of("porch") and second.voice_of("kitchen"), "both voices", first)
            world.kill()
            await comes(lambda: "reconnecting" in first.told and "reconnecting" in second.told, "the break", first)
            await asyncio.to_thread(world.start) if isinstance(world, RealWorld) else world.start()
            for ears, who in ((first, "porch"), (second, "kitchen")):
                await until_async(lambda ears=ears: "reconnected" in ears.told, 15.0, "the mended connection")
                voice = await until_async(lambda ears=ears, who=who: ears.voice_of(who), 15.0, f"the voice of {who}")
                assert [v.identity for v in ears.voices.values()] == [who]
                await asyncio.wait_for(_loud(voice), SOON_S)

    run(story(), timeout_s=60)


async def _loud(voice: RemoteVoice) -> None:
    async for frame in voice.frames():
        if np.abs(frame.astype(int)).max() > 4000:
            return


# ---- what would abort the process ------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("samples", [0, 1, 160, 479, 481, 960])
def test_a_frame_that_is_not_10_ms_is_refused_before_it_reaches_native_code(world: World, samples: int) -> None:
    async def story() -> None:
        async with joined(world, "kitchen", talks=True) as (room, _):
            with pytest.raises(ValueError, match="480"):
                await room.send(np.zeros(samples, np.int16))
            with pytest.raises(ValueError, match="int16"):
                await room.send(np.zeros(FRAME, np.float32))  # type: ignore[arg-type]

    run(story())
