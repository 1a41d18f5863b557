"""What the room's contract suites stand on: the fake server and a real one under the same names."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

import numpy as np
import pytest
from livekit import api

from appliance.network.knock import knock
from appliance.network.livekit_room import LiveKitRoom, pending_connects
from appliance.ports import Answer, RemoteVoice, RoomConnection, Samples
from tests.fakes.room import Answer as Meets
from tests.fakes.room import FakeRoom, FakeServer
from tests.harness import aio
from tests.harness.front import Front, silent
from tests.harness.ports import free_port
from tests.harness.server import LiveKitServer
from tests.harness.vtime import LoopClock, run_jumping
from tests.harness.wait import until_async

RATE_HZ = 48_000
FRAME = 480
SOON_S = 5.0


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.voices: dict[str, RemoteVoice] = {}
        self.closed_by: Exception | None = None

    def on_participant_joined(self, identity: str) -> None:
        self.told.append(f"joined {identity}")

    def on_participant_left(self, identity: str) -> None:
        self.told.append(f"left {identity}")

    def on_voice(self, voice: RemoteVoice) -> None:
        self.told.append(f"voice {voice.identity}")
        self.voices[voice.sid] = voice

    def on_voice_gone(self, sid: str) -> None:
        self.told.append(f"gone {self.voices.pop(sid).identity}")

    def on_reconnecting(self) -> None:
        self.told.append("reconnecting")

    def on_reconnected(self) -> None:
        self.told.append("reconnected")

    def on_closed(self, error: Exception) -> None:
        assert self.closed_by is None, "told twice that the session is over"
        self.told.append("closed")
        self.closed_by = error

    def voice_of(self, identity: str) -> RemoteVoice | None:
        return next((v for v in self.voices.values() if v.identity == identity), None)


class World(Protocol):
    """A server that can be asked for trouble."""

    url: str
    deaf_url: str
    """Where nothing listens."""

    def room(self) -> RoomConnection: ...
    def token(self, identity: str) -> str: ...
    def bad_token(self) -> str: ...
    def mute_token(self, identity: str) -> str: ...
    def silence(self) -> contextlib.AbstractAsyncContextManager[str]: ...
    async def remove(self, identity: str) -> None: ...
    async def delete_room(self) -> None: ...
    def mute(self, room: RoomConnection, muted: bool) -> None: ...
    def notice(self, *speaking: str) -> None: ...
    async def knock(self, url: str, *, timeout_s: float = SOON_S) -> Answer: ...
    def wall_s(self) -> float: ...
    def kill(self) -> None: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def pending(self) -> int: ...

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        """Virtual time where there is nothing real to wait for."""


class FakeWorld:
    """`FakeServer` under the suite's names."""

    deaf_url = "ws://elsewhere.invalid"

    def __init__(self) -> None:
        self.server = FakeServer()
        self.url = self.server.url
        self.room = self.server.new_room
        self.token = self.server.token
        self.knock = self.server.knock
        self.kill = self.server.kill
        self.start = self.server.start
        self.freeze = self.server.freeze
        self.thaw = self.server.start

    def bad_token(self) -> str:
        self.server.answers.append(Meets.REJECT)
        return self.token("kitchen")

    def mute_token(self, identity: str) -> str:
        self.server.may_publish = False
        return self.token(identity)

    @contextlib.asynccontextmanager
    async def silence(self) -> AsyncIterator[str]:
        self.server.default_answer = Meets.SILENT
        yield self.url

    async def remove(self, identity: str) -> None:
        self.server.evict(identity, "somebody removed this station from the room")

    async def delete_room(self) -> None:
        self.server.close_room()

    def mute(self, room: RoomConnection, muted: bool) -> None:
        assert isinstance(room, FakeRoom)
        assert room.track is not None
        room.track.mute(muted)

    def notice(self, *speaking: str) -> None:
        self.server.say_who_speaks(*speaking)

    def wall_s(self) -> float:
        return LoopClock().time()

    def pending(self) -> int:
        return self.server.pending_connects

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        run_jumping(story)


class RealWorld:
    """The SDK against a real server, in a room of the test's own."""

    def __init__(self, server: LiveKitServer, *, direct: bool = True) -> None:
        self.server = server
        self.direct = direct
        self.url = server.url
        self.deaf_url = f"ws://127.0.0.1:{free_port()}"
        self.name = f"contract-{secrets.token_hex(4)}"

    def room(self) -> RoomConnection:
        return LiveKitRoom(sample_rate=RATE_HZ, direct=self.direct)

    def token(self, identity: str) -> str:
        return self.server.token(identity, self.name)

    def bad_token(self) -> str:
        return self.token("kitchen")[:-4] + "AAAA"

    def mute_token(self, identity: str) -> str:
        return self.server.token(identity, self.name, can_publish=False)

    @contextlib.asynccontextmanager
    async def silence(self) -> AsyncIterator[str]:
        with Front(silent) as front:  # the native connect goes on by itself; afterwards it is refused, and ends
            yield front.url

    async def remove(self, identity: str) -> None:
        async with self._api() as client:
            await client.room.remove_participant(api.RoomParticipantIdentity(room=self.name, identity=identity))

    async def delete_room(self) -> None:
        async with self._api() as client:
            await client.room.delete_room(api.DeleteRoomRequest(room=self.name))

    def mute(self, room: RoomConnection, muted: bool) -> None:
        """By the SDK itself: a station of ours mutes nobody."""
        assert isinstance(room, LiveKitRoom)
        assert room._sender._track is not None
        (room._sender._track.mute if muted else room._sender._track.unmute)()

    def notice(self, *speaking: str) -> None:
        """It hears that by itself."""

    def _api(self) -> api.LiveKitAPI:
        return api.LiveKitAPI(self.url.replace("ws:", "http:"), self.server.api_key, self.server.api_secret)

    async def knock(self, url: str, *, timeout_s: float = SOON_S) -> Answer:
        return await knock(url, timeout_s=timeout_s)

    def wall_s(self) -> float:
        return time.time()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def freeze(self) -> None:
        self.server.freeze()

    def thaw(self) -> None:
        self.server.thaw()

    def pending(self) -> int:
        return pending_connects()

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        aio.run(story, timeout_s=60.0)


both = pytest.mark.parametrize(
    "world", ["fake", pytest.param("real", marks=[pytest.mark.server, pytest.mark.slow])], indirect=True
)

both_and_publicly = pytest.mark.parametrize(
    "world",
    [
        "fake",
        *(pytest.param(name, marks=[pytest.mark.server, pytest.mark.slow]) for name in ("real", "real, publicly")),
    ],
    indirect=True,
)
"""The third world goes by the SDK's public parts only."""
both_mortal = pytest.mark.parametrize(
    "mortal_world", ["fake", pytest.param("real", marks=[pytest.mark.server, pytest.mark.slow])], indirect=True
)


# ---- the stories' vocabulary -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def joined(
    world: World, identity: str, *, talks: bool = False, most: int | None = None
) -> AsyncIterator[tuple[RoomConnection, Listener]]:
    """`most`: so many voices at once."""
    room, listener = world.room(), Listener()
    if most is not None:
        room.set_max_streams(most)
    await room.connect(world.url, world.token(identity), listener, deadline_s=SOON_S)
    try:
        if talks:
            await room.publish_microphone(rate_hz=RATE_HZ)
        yield room, listener
    finally:
        await room.disconnect()
        for voice in list(listener.voices.values()):
            await voice.aclose()


@contextlib.asynccontextmanager
async def talking(room: RoomConnection, frame: Samples) -> AsyncIterator[asyncio.Task[None]]:
    """`frame`, again and again, at the pace of a microphone."""

    async def talk() -> None:
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        while True:
            await room.send(frame)
            next_s += 0.01
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    task = asyncio.create_task(talk())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


def tone() -> Samples:
    wave = 8000 * np.sin(2 * np.pi * 1000 * np.arange(FRAME) / RATE_HZ)
    return wave.astype(np.int16)


async def comes(condition: Callable[[], Any], what: str, listener: Listener | None = None) -> Any:
    return await until_async(condition, SOON_S, lambda: f"{what}; told: {listener.told if listener else ''}")
