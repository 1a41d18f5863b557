"""What a simulated station lives in: a server, a device thread and a wall clock that watch how they are used.

The fakes are those of all tests, held to the real parts by the contract suites; here they also object.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from appliance.audio.worker import PATIENCE_S
from appliance.errors import AttemptTimedOut, Evicted, ServerClosed
from appliance.network import natives
from appliance.network.claims import claims_of
from appliance.ports import Answer as Presence
from appliance.ports import RoomListener
from tests.fakes.room import (
    SILENT_CONNECT_S,
    WALL_S,
    Answer,
    FakeParticipant,
    FakeRoom,
    FakeServer,
    FakeTrack,
    FakeVoice,
)

T = TypeVar("T")

TAKEOVER_S: Final = 60.0  # two devices with one identity: at most one takeover a minute

Job = tuple[asyncio.Future[Any], Callable[[], Any]]

Objection = Callable[[str], None]
"""Told in words when an invariant is broken."""


class WatchedServer(FakeServer):
    """Objects to two sessions or two publications of one station, and keeps what must be closed one day."""

    def __init__(self, object_to: Objection) -> None:
        super().__init__()
        self.object_to = object_to
        self.unclosed: list[FakeVoice] = []
        """Voices that were handed out and are not closed yet."""
        self.shows_front_page = False
        """Whether it answers questions although it lets nobody in."""
        self._told_of_double = False
        self.takeover_s = float("-inf")
        """When this station last threw a double out without having been told to try."""
        self.late_attempts = 0
        """Native connects that would still succeed although nobody waits for them any more."""

    async def knock(self, url: str, **more: Any) -> Presence:
        if not self.shows_front_page:
            return await super().knock(url, **more)
        self.knocks += 1
        await asyncio.sleep(0)
        return Presence(0.0, self._wall())

    def new_room(self) -> FakeRoom:
        return WatchedRoom(self)

    def admit(self, room: FakeRoom) -> None:
        if room.identity in self.participants and self._told_of_double:
            self._judge_takeover()
        for other in self.sessions():
            if other.identity == room.identity:
                self.object_to("joined while the session before was still in the room")
        super().admit(room)

    def join(self, identity: str) -> FakeParticipant:
        """A station that is not in the room when its double comes cannot know of it."""
        self._told_of_double = self._told_of_double or any(room.identity == identity for room in self.sessions())
        return super().join(identity)

    def _judge_takeover(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self.takeover_s < TAKEOVER_S:
            self.object_to(f"threw its double out twice within {TAKEOVER_S:g} s")
        self.shows_front_page = False
        """Whether it answers questions although it lets nobody in."""
        self.takeover_s = now_s

    def announce_track(self, track: FakeTrack, *, switched_on: bool = False) -> None:
        doubles = [room for room in self.sessions() if room.identity == track.identity and room.track is not None]
        if len(doubles) > 1:
            self.object_to("two microphones of one station are published at once")
        super().announce_track(track, switched_on=switched_on)

    def forget_closed(self) -> None:
        self.unclosed = [voice for voice in self.unclosed if not voice.closed]


class WatchedRoom(FakeRoom):
    """Connects as `LiveKitRoom` does, by `natives`, to something native that must never be cancelled."""

    server: WatchedServer

    async def connect(self, url: str, token: str, listener: RoomListener, *, deadline_s: float) -> None:
        """The server judges a token's time by its own clock, which is right."""
        claims, now_s = claims_of(token), WALL_S + asyncio.get_running_loop().time()
        if not claims["nbf"] <= now_s < claims["exp"]:
            self.server.object_to("a token was made that is not good at the time of its use")
        await super().connect(url, token, listener, deadline_s=deadline_s)

    async def _wait(self, answer: Answer, deadline_s: float) -> None:
        takes_s = self.server.late_s if answer is Answer.LATE else SILENT_CONNECT_S
        succeeds = answer is Answer.LATE
        self.server.late_attempts += succeeds
        try:
            await natives.connect(self._native(takes_s, succeeds), deadline_s=deadline_s, undo=self._undo)
        except TimeoutError as late:
            said = f"{self.server.url} accepted and stayed silent for {deadline_s:g} s"
            raise AttemptTimedOut(said) from late

    async def _native(self, takes_s: float, succeeds: bool) -> None:
        try:
            await asyncio.sleep(takes_s)
        except asyncio.CancelledError:
            self.server.object_to("a native connect was cancelled")
            raise
        finally:
            self.server.late_attempts -= succeeds
        if not succeeds:
            raise AttemptTimedOut("the native connect gave up")

    async def _undo(self) -> None:
        """It came in when nobody waited any more: it throws out its own double, and is closed at once."""
        for room in self.server.sessions():
            if room.identity == self.identity:
                room.end(self._why_ended())

    @staticmethod
    def _why_ended() -> Exception:
        if natives.may_have_evicted_ourselves():
            return ServerClosed("an attempt of our own that came in late took this session's place")
        return Evicted("another device joined as the same identity")

    async def publish_microphone(self, *, rate_hz: int) -> None:
        if self.track is not None:
            self.server.object_to("a microphone was published twice in one session")
        await super().publish_microphone(rate_hz=rate_hz)

    def play(self, sid: str) -> None:
        before = self.voices.get(sid)
        super().play(sid)
        voice = self.voices.get(sid)
        if voice is not None and voice is not before:
            self.server.unclosed.append(voice)


class VirtualWorker:
    """`ports.BlockingCalls` without threads: a call takes no time, but for one that hangs in its driver.

    As with `DeviceWorker`, calls behind that one run beside it after a while, and one that was cancelled before it
    began is not made at all.
    """

    def __init__(self) -> None:
        self._hangs = False
        self._stuck: Job | None = None
        self._queue: deque[Job] = deque()

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._hangs and self._stuck is None:
            self._stuck = (future, call)
        elif self._stuck is not None:
            if not self._queue:
                loop.call_later(PATIENCE_S, self._work)
            self._queue.append((future, call))
        else:
            _run(future, call)
        return future

    def hang(self) -> None:
        """The next call does not return until `release()`."""
        self._hangs = True

    def release(self) -> None:
        self._hangs = False
        stuck, self._stuck = self._stuck, None
        if stuck is not None:
            _run(*stuck)
        self._work()

    @property
    def waiting(self) -> int:
        """Calls that have not ended."""
        return len(self._queue) + (self._stuck is not None)

    def _work(self) -> None:
        while self._queue:
            future, call = self._queue.popleft()
            if not future.cancelled():
                _run(future, call)


def _run(future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except Exception as error:
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)
