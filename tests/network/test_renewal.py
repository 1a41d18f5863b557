"""A voice that is subscribed anew comes back, or the session is over."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from appliance.errors import NetworkError
from appliance.network.caution import Hold
from appliance.network.livekit_room import LiveKitRoom
from appliance.network.renewal import BACK_S, Renewals
from tests.contracts.rooms import Listener
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.harness.vtime import run_jumping
from tests.harness.wait import until_async


class FakeTrack:
    """A publication that is heard again when it was asked for often enough."""

    def __init__(self, *, comes_back_at: int) -> None:
        self.said: list[bool] = []
        self.failed: list[NetworkError] = []
        self.is_in_the_room = True
        self.renewals = Renewals(
            find=self._find,
            publication=lambda _: self if self.is_in_the_room else None,
            is_heard=lambda _: self.said.count(True) >= comes_back_at,
            on_failure=self.failed.append,
        )

    async def _find(self, track: str) -> str | None:
        return "TR_1" if track == "webrtc's name" else None

    def set_subscribed(self, subscribed: bool) -> None:
        self.said.append(subscribed)


def test_a_voice_that_does_not_come_back_is_asked_for_again() -> None:
    async def story() -> None:
        track = FakeTrack(comes_back_at=2)
        track.renewals.renew("TR_1")
        await asyncio.sleep(10)
        assert track.said == [False, True, False, True]
        assert not track.failed

    run_jumping(story())


def test_a_voice_that_is_held_back_for_nothing_is_subscribed_anew_once() -> None:
    async def story() -> None:
        track = FakeTrack(comes_back_at=1)
        for name in ["webrtc's name", "of another"]:
            for _ in range(10):
                track.renewals.look({name: Hold(buffer_ms=200.0, jitter_ms=1.0, rtt_ms=5.0, rms=0.0)})
                await asyncio.sleep(0.75)
        assert track.said == [False, True]

    run_jumping(story())


def test_a_voice_that_never_comes_back_ends_the_session() -> None:
    async def story() -> None:
        track = FakeTrack(comes_back_at=99)
        track.renewals.renew("TR_1")
        await asyncio.sleep(10)
        assert track.said.count(True) == len(BACK_S)
        assert len(track.failed) == 1

    run_jumping(story())


def test_a_voice_that_left_the_room_meanwhile_is_not_missed() -> None:
    async def story() -> None:
        track = FakeTrack(comes_back_at=99)
        track.renewals.renew("TR_1")
        await asyncio.sleep(0.05)
        track.is_in_the_room = False
        await asyncio.sleep(10)
        assert track.said == [False, True]
        assert not track.failed

    run_jumping(story())


def test_whoever_stops_midway_leaves_the_voice_subscribed() -> None:
    async def story() -> None:
        track = FakeTrack(comes_back_at=1)
        track.renewals.renew("TR_1")
        await asyncio.sleep(0.05)
        track.renewals.stop()
        await asyncio.sleep(1)
        assert track.said == [False, True]

    run_jumping(story())


async def _speak(room: LiveKitRoom) -> None:
    while True:
        await room.send(np.zeros(480, np.int16))
        await asyncio.sleep(0.01)


async def _first_track(room: LiveKitRoom) -> str:
    reading = await room._read()
    return next(iter(reading.tracks), "") if reading else ""


@pytest.mark.server
@pytest.mark.slow
def test_a_real_server_gives_the_voice_back_each_time(livekit_server: LiveKitServer) -> None:
    async def story() -> None:
        listener = Listener()
        speaker, station = LiveKitRoom(sample_rate=48_000), LiveKitRoom(sample_rate=48_000)
        await speaker.connect(livekit_server.url, livekit_server.token("bob", "renewal"), Listener(), deadline_s=5)
        await speaker.publish_microphone(rate_hz=48_000)
        await station.connect(livekit_server.url, livekit_server.token("kitchen", "renewal"), listener, deadline_s=5)
        voice = await until_async(lambda: listener.voice_of("bob"), 5.0, "bob's voice")
        speaking = asyncio.create_task(_speak(speaker))
        name = await until_async(lambda: _first_track(station), 5.0, "the voice's statistics")
        assert await station._find_track(name) == voice.sid
        assert await station._find_track("another") is None
        for _ in range(5):
            station._renewals.renew(voice.sid)
            await until_async(lambda: not listener.voices, 1.0, "the old voice to go")
            voice = await until_async(lambda: listener.voice_of("bob"), 2.0, "bob's voice anew")
            await until_async(lambda: not station._renewals.busy, 1.0, "the end of the renewal")
        station._renewals.renew(voice.sid)
        await station.disconnect()  # midway
        speaking.cancel()
        await speaker.disconnect()

    run(story())


@pytest.mark.server
@pytest.mark.slow
def test_a_voice_that_is_subscribed_anew_keeps_its_seat_and_leaves_it_with_its_speaker(
    livekit_server: LiveKitServer,
) -> None:
    async def story() -> None:
        people, listener = {}, Listener()
        for who in ("bob", "carol"):
            people[who] = LiveKitRoom(sample_rate=48_000)
            await people[who].connect(livekit_server.url, livekit_server.token(who, "seats"), Listener(), deadline_s=5)
            await people[who].publish_microphone(rate_hz=48_000)
        station = LiveKitRoom(sample_rate=48_000)
        station.set_max_streams(1)
        await station.connect(livekit_server.url, livekit_server.token("kitchen", "seats"), listener, deadline_s=5)
        await until_async(lambda: listener.voices and station.parked, 5.0, "one voice, and one that is parked")
        (sid, voice), (waits,) = next(iter(listener.voices.items())), station.parked
        station._renewals.renew(sid)
        await until_async(lambda: not listener.voices, 1.0, "the old voice to go")
        await until_async(lambda: sid in listener.voices and not station._renewals.busy, 5.0, "the same voice anew")
        assert station.parked == (waits,)
        station._renewals.renew(sid)
        await until_async(lambda: not listener.voices, 1.0, "the old voice to go")
        await people[voice.identity].disconnect()
        await until_async(lambda: listener.voice_of(waits), 5.0, "the one who waited")
        for room in (station, *people.values()):
            await room.disconnect()

    run(story())
