"""A LiveKit server and its sessions in memory: real enough for months of calls in virtual time.

`FakeServer` is the room; `FakeRoom` is one station's session (`ports.RoomConnection`); `FakeParticipant` is somebody
else who is in the room without running alto. Nothing here sleeps in real time, starts a thread or opens a socket:
what takes time goes through the running loop, so that a loop whose time jumps runs it in no time at all.

The durations are the SDK's, measured: see `appliance/network/livekit_room.py`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import numpy as np

from appliance.errors import AttemptTimedOut, Evicted, NetworkError, Rejected, ServerClosed, Stalled, Unreachable
from appliance.network.seats import Seats
from appliance.ports import Answer as Presence
from appliance.ports import LinkStats, RemoteVoice, RoomListener, Samples

VOICE_QUEUE_FRAMES: Final = 10  # as the real one: 100 ms, the oldest goes
GIVES_UP_AFTER_KILL_S: Final = 20.0  # the SDK's ten attempts against a port that refuses
NOTICES_FREEZE_S: Final = 14.0  # a server that stopped answering is noticed by its missing pongs
GIVES_UP_AFTER_FREEZE_S: Final = 120.0
SILENT_CONNECT_S: Final = 32.0  # the native connect to a port that accepts and says nothing
QUIET_S: Final = 2.0  # the longest that nothing comes over a living path: connectivity checks alone, measured
CHECK_BYTES: Final = 100
SEND_S: Final = 2.0  # as the real one: so long the encoder may take nothing
KNOCK_S: Final = 1.5  # as the real one: a silent server costs this much
KEPT_FRAMES: Final = 100  # of what a session sent; bounded, because simulations run for years

WALL_S: Final = 1_795_000_000.0  # as `LoopClock`: the loop's time zero

URL: Final = "ws://fake.invalid:7880"


class Answer(StrEnum):
    """What the server does with one attempt to join."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    """Nothing listens: Unreachable at once."""
    REJECT = "reject"
    """401: Rejected at once."""
    SILENT = "silent"
    """The port accepts and stays silent: the deadline passes."""
    LATE = "late"
    """Joins `FakeServer.late_s` after it was asked, perhaps when nobody waits any more."""


@dataclass
class FakeVoice:
    """One subscribed track as one session hears it (`ports.RemoteVoice`)."""

    sid: str
    identity: str
    is_microphone: bool = True
    dropped_frames: int = 0
    _queue: deque[Samples] = field(default_factory=lambda: deque(maxlen=VOICE_QUEUE_FRAMES))
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    delivers: bool = True
    closed: bool = False
    _take: Callable[[Samples], None] | None = None

    def deliver(self, take: Callable[[Samples], None]) -> bool:
        able = self.delivers and not self.closed
        self._take = take if able else None
        return able

    def put(self, frame: Samples) -> None:
        """One frame came; the oldest goes when nobody reads."""
        if self.closed:
            return
        if self._take is not None:
            self._take(frame)
            return
        self.dropped_frames += len(self._queue) == VOICE_QUEUE_FRAMES
        self._queue.append(frame)
        self._more.set()

    async def frames(self) -> AsyncIterator[Samples]:
        while not self.closed:
            while self._queue and not self.closed:
                yield self._queue.popleft()
            self._more.clear()
            if not self.closed:
                await self._more.wait()

    async def aclose(self) -> None:
        self.closed = True
        self._more.set()


@dataclass
class FakeTrack:
    """What a participant publishes: its frames go to every session in the room."""

    server: FakeServer
    sid: str
    identity: str
    is_microphone: bool = True
    muted: bool = False

    def mute(self, muted: bool) -> None:
        """Nobody hears it while it is muted, and each session is told so."""
        self.muted = muted
        if muted:
            self.server.withdraw_track(self)
        else:
            self.server.announce_track(self, switched_on=True)

    def say(self, frame: Samples) -> None:
        """Let everybody else hear one 10 ms frame."""
        for room in self.server.sessions():
            if not room.muffled and (voice := room.voices.get(self.sid)):
                voice.put(frame)

    async def talk(self, make_frame: Callable[[int], Samples], *, frames: int) -> None:
        """Say `frames` frames, one each 10 ms of the loop's time."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for n in range(frames):
            await asyncio.sleep(max(0.0, start_s + n * 0.01 - loop.time()))
            self.say(make_frame(n))


@dataclass
class FakeParticipant:
    """Somebody in the room who is not a station under test."""

    server: FakeServer
    identity: str
    tracks: dict[str, FakeTrack] = field(default_factory=dict)

    def publish(self, *, is_microphone: bool = True) -> FakeTrack:
        """Publish one more audio track; everybody is subscribed to it at once."""
        track = FakeTrack(self.server, self.server.new_sid(), self.identity, is_microphone)
        self.tracks[track.sid] = track
        self.server.announce_track(track)
        return track

    def unpublish(self, track: FakeTrack) -> None:
        del self.tracks[track.sid]
        self.server.withdraw_track(track)

    def leave(self) -> None:
        """Leave the room; the tracks go first, as in the real one."""
        for track in list(self.tracks.values()):
            self.unpublish(track)
        self.server.forget_participant(self.identity)


class FakeServer:
    """One room on one server; scripted by its methods."""

    def __init__(self, *, url: str = URL) -> None:
        self.url = url
        self.late_s = 15.0
        self.may_publish = True
        self.sends_stuck = False
        self.delivers = True
        """Whether voices can deliver past the loop; otherwise they only have `frames()`."""
        self.answers: deque[Answer] = deque()
        """What the next attempts meet, first one first; when empty, `default_answer`."""
        self.default_answer = Answer.ACCEPT
        self.link = LinkStats(rtt_ms=1.0, loss_in_ratio=0.0, loss_out_ratio=0.0, jitter_buffer_ms=40.0, path="udp host")
        self.wall_ahead_s: float | None = 0.0
        """How far the server's wall clock is ahead of `harness.vtime.LoopClock`'s; None: it tells no time."""
        self.knocks = 0
        self.attempts = 0
        self.joins = 0
        self.evictions = 0
        self.pending_connects = 0
        """Native connects that nobody waits for any more and that have not ended."""
        self.participants: dict[str, FakeParticipant] = {}
        self._rooms: list[FakeRoom] = []
        self._next_sid = 0
        self._timers: list[asyncio.TimerHandle] = []

    # -- asked by the station

    def new_room(self) -> FakeRoom:
        """A session that has not joined yet: hand this method in as `room_factory`."""
        return FakeRoom(self)

    def token(self, identity: str) -> str:
        """A token that `FakeRoom` understands; a real JWT does as well (its `sub` is read, nothing verified)."""
        return f"fake.{identity}"

    async def knock(self, url: str, *, timeout_s: float = KNOCK_S) -> Presence:
        """`ports.Knock`: what a server in this state says to a plain HTTP question."""
        self.knocks += 1
        if url != self.url or self.default_answer is Answer.REFUSE:
            raise Unreachable(f"nothing answers at {url}", fix="check livekit.url")
        if self.default_answer is Answer.SILENT:
            await asyncio.sleep(timeout_s)
            raise AttemptTimedOut(f"{url} accepted and stayed silent for {timeout_s:g} s")
        await asyncio.sleep(0)
        return Presence(0.0, self._wall())

    def _wall(self) -> float | None:
        if self.wall_ahead_s is None:
            return None
        return WALL_S + asyncio.get_running_loop().time() + self.wall_ahead_s

    # -- scripted by the test

    def join(self, identity: str) -> FakeParticipant:
        """Somebody comes in. A station of the same identity is evicted, as in the real room."""
        self._evict(identity)
        person = self.participants[identity] = FakeParticipant(self, identity)
        for room in self.sessions():
            room.tell_joined(identity)
        return person

    def evict(self, identity: str, why: str = "another device joined as the same identity") -> None:
        """End the session of `identity` for good."""
        for room in self.sessions():
            if room.identity == identity:
                room.end(Evicted(why, fix="give each station its own identity"))

    def say_who_speaks(self, *identities: str) -> None:
        """What the server tells every session when it hears these people, and nobody else, say something."""
        for room in self.sessions():
            room.tell_speakers(identities)

    def close_room(self, why: str = "the room was deleted") -> None:
        """End every session; the server goes on."""
        for room in self.sessions():
            room.end(ServerClosed(why))

    def kill(self) -> None:
        """The process is gone: sessions try to reconnect, and give up after 20 s."""
        self.default_answer = Answer.REFUSE
        for room in self.sessions():
            room.lose_signal(give_up_s=GIVES_UP_AFTER_KILL_S)

    def freeze(self) -> None:
        """Nothing answers any more (cable pulled, SIGSTOP): noticed after 14 s, given up after 120 s."""
        self.default_answer = Answer.SILENT
        loop = asyncio.get_running_loop()
        for room in self.sessions():
            room.muffled = True
            patience_s = GIVES_UP_AFTER_FREEZE_S - NOTICES_FREEZE_S
            room.timers.append(loop.call_later(NOTICES_FREEZE_S, room.lose_signal, patience_s))

    def start(self) -> None:
        """Back again, after `kill()` or `freeze()`: sessions that have not given up are whole again."""
        self.default_answer = Answer.ACCEPT
        for room in self.sessions():
            room.recover()

    # -- the room's inside

    def sessions(self) -> list[FakeRoom]:
        """The stations that are in the room."""
        return [room for room in self._rooms if room.is_in_room]

    def session(self, identity: str) -> FakeRoom:
        """The session of one station; KeyError when it is not in the room."""
        for room in self.sessions():
            if room.identity == identity:
                return room
        raise KeyError(identity)

    def new_sid(self) -> str:
        self._next_sid += 1
        return f"TR_{self._next_sid:06d}"

    def next_answer(self) -> Answer:
        self.attempts += 1
        return self.answers.popleft() if self.answers else self.default_answer

    def admit(self, room: FakeRoom) -> None:
        """`room` has joined: tell the others, evict its double."""
        self._evict(room.identity)
        self.joins += 1
        for other in self.sessions():
            other.tell_joined(room.identity)
        self._rooms.append(room)

    def dismiss(self, room: FakeRoom) -> None:
        """`room` has left or was ended."""
        if room in self._rooms:
            self._rooms.remove(room)
            if room.track is not None:
                self.withdraw_track(room.track)
            for other in self.sessions():
                other.tell_left(room.identity)

    def announce_track(self, track: FakeTrack, *, switched_on: bool = False) -> None:
        for room in self.sessions():
            room.subscribe(track, switched_on=switched_on)

    def withdraw_track(self, track: FakeTrack) -> None:
        for room in self.sessions():
            room.unsubscribe(track.sid)

    def forget_participant(self, identity: str) -> None:
        if self.participants.pop(identity, None) is not None:
            for room in self.sessions():
                room.tell_left(identity)

    def others(self, identity: str) -> tuple[str, ...]:
        stations = [room.identity for room in self.sessions() if room.identity != identity]
        return (*self.participants, *stations)

    def tracks(self, *, but: str) -> list[FakeTrack]:
        """Everything that is published by others than `but`."""
        people = [track for person in self.participants.values() for track in person.tracks.values()]
        stations = [room.track for room in self.sessions() if room.track is not None and room.identity != but]
        return [track for track in [*people, *stations] if track.identity != but]

    def _evict(self, identity: str) -> None:
        if person := self.participants.get(identity):
            person.leave()
        for room in self.sessions():
            if room.identity == identity:
                self.evictions += 1
                room.end(Evicted("another device joined as the same identity"))


class FakeRoom:
    """One session (`ports.RoomConnection`)."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.identity = ""
        self.listener: RoomListener | None = None
        self.voices: dict[str, FakeVoice] = {}
        self._tracks: dict[str, FakeTrack] = {}
        self._seats = Seats(play=self.play, park=self._close_voice)
        self.track: FakeTrack | None = None
        self._muffled = True  # nothing is heard before joining
        self._open_s = 0.0
        self._open_since_s = 0.0
        self.reconnecting = False
        self.sent_frames = 0
        self.sent: deque[Samples] = deque(maxlen=KEPT_FRAMES)
        self.timers: list[asyncio.TimerHandle] = []
        self.is_in_room = False
        self._known: set[str] = set()
        self._used = False
        self._left = False
        self._frame_samples = 0

    async def connect(self, url: str, token: str, listener: RoomListener, *, deadline_s: float) -> None:
        assert not self._used, "a session is never used twice"
        self._used = True
        self.identity = _identity(token)
        if url != self.server.url:
            raise Unreachable(f"nothing answers at {url}", fix="check livekit.url")
        await self._be_answered(self.server.next_answer(), deadline_s)
        self.listener = listener
        self._enter()

    async def _be_answered(self, answer: Answer, deadline_s: float) -> None:
        if answer is Answer.REFUSE:
            raise Unreachable(f"nothing answers at {self.server.url}", fix="check livekit.url")
        if answer is Answer.REJECT:
            raise Rejected("the server refused the token (401)", fix="check api_key and api_secret")
        if answer in (Answer.SILENT, Answer.LATE):
            await self._wait(answer, deadline_s)
        await asyncio.sleep(0)

    async def _wait(self, answer: Answer, deadline_s: float) -> None:
        """As the native connect: it goes on in the background when its caller is gone."""
        takes_s = self.server.late_s if answer is Answer.LATE else SILENT_CONNECT_S
        if answer is Answer.LATE and takes_s <= deadline_s:
            await asyncio.sleep(takes_s)
            return
        began_s = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(min(takes_s, deadline_s))
        finally:
            spent_s = asyncio.get_running_loop().time() - began_s
            self._go_on_alone(answer, max(0.0, takes_s - spent_s))
        raise AttemptTimedOut(f"{self.server.url} accepted and stayed silent for {deadline_s:g} s")

    def _go_on_alone(self, answer: Answer, left_s: float) -> None:
        self.server.pending_connects += 1
        asyncio.get_running_loop().call_later(left_s, self._come_in_late, answer)

    def _come_in_late(self, answer: Answer) -> None:
        """A late success joins, throws its own double out, and is closed at once."""
        self.server.pending_connects -= 1
        if answer is Answer.LATE:
            for room in self.server.sessions():
                if room.identity == self.identity:
                    self.server.evictions += 1
                    room.end(ServerClosed("an attempt of our own that came in late took this session's place"))

    def _enter(self) -> None:
        self.muffled = False
        self.server.admit(self)
        self.is_in_room = True
        for identity in self.server.others(self.identity):
            self.tell_joined(identity)
        for track in self.server.tracks(but=self.identity):
            self.subscribe(track)

    async def publish_microphone(self, *, rate_hz: int) -> None:
        self._must_be_in_room()
        if not self.server.may_publish:
            raise Rejected("this token does not allow to publish a microphone", fix="ask for canPublish")
        self._frame_samples = rate_hz // 100
        self.track = FakeTrack(self.server, self.server.new_sid(), self.identity)
        self.server.announce_track(self.track)

    async def send(self, frame: Samples) -> None:
        self._must_be_in_room()
        if self.track is None:
            raise NetworkError("no microphone is published")
        if frame.shape != (self._frame_samples,) or frame.dtype != np.int16:
            raise ValueError(f"a frame is {self._frame_samples} int16 samples, not {frame.shape} {frame.dtype}")
        if self.server.sends_stuck:
            await asyncio.sleep(SEND_S)
            raise Stalled("the encoder takes nothing")
        self.sent_frames += 1
        self.sent.append(frame.copy())
        if not self.muffled:
            self.track.say(frame.copy())

    async def stats(self) -> LinkStats:
        return replace(self.server.link, bytes_received=self._bytes_received()) if self.is_in_room else LinkStats()

    @property
    def muffled(self) -> bool:
        """Signal or media is lost: what is sent goes nowhere, and nothing arrives."""
        return self._muffled

    @muffled.setter
    def muffled(self, value: bool) -> None:
        self._open_s = self._heard_s()
        self._open_since_s = asyncio.get_running_loop().time()
        self._muffled = value

    def _heard_s(self) -> float:
        """For how long this session could hear the server, all in all."""
        now_s = asyncio.get_running_loop().time()
        return self._open_s if self._muffled else self._open_s + now_s - self._open_since_s

    def _bytes_received(self) -> int:
        return CHECK_BYTES * int(self._heard_s() // QUIET_S)

    def set_max_streams(self, most: int) -> None:
        self._seats.set_most(most)

    @property
    def participants(self) -> tuple[str, ...]:
        return self.server.others(self.identity) if self.is_in_room else ()

    @property
    def parked(self) -> tuple[str, ...]:
        return self._seats.parked if self.is_in_room else ()

    async def disconnect(self) -> None:
        self._left = True
        await self._leave()

    # -- what happens to a session

    def tell_joined(self, identity: str) -> None:
        if identity != self.identity and identity not in self._known and self.listener is not None:
            self._known.add(identity)
            self.listener.on_participant_joined(identity)

    def tell_left(self, identity: str) -> None:
        if identity in self._known and self.listener is not None and not self.reconnecting:
            self._known.discard(identity)
            self.listener.on_participant_left(identity)

    def subscribe(self, track: FakeTrack, *, switched_on: bool = False) -> None:
        if track.identity == self.identity or track.muted or self.listener is None:
            return
        self._tracks[track.sid] = track
        self._seats.come(track.sid, track.identity, switched_on=switched_on)

    def unsubscribe(self, sid: str) -> None:
        self._close_voice(sid)
        self._seats.go(sid)
        self._tracks.pop(sid, None)

    def tell_speakers(self, identities: Collection[str]) -> None:
        self._seats.speak(identities)

    def play(self, sid: str) -> None:
        if self.listener is None or sid in self.voices:
            return
        track = self._tracks[sid]
        voice = FakeVoice(sid, track.identity, track.is_microphone, delivers=self.server.delivers)
        self.voices[sid] = voice
        handed: RemoteVoice = voice
        self.listener.on_voice(handed)

    def _close_voice(self, sid: str) -> None:
        if self.voices.pop(sid, None) is not None and self.listener is not None:
            self.listener.on_voice_gone(sid)

    def lose_signal(self, give_up_s: float) -> None:
        """The SDK reconnects by itself, until it gives up."""
        if not self.is_in_room or self.reconnecting:
            return
        self.reconnecting = self.muffled = True
        self._tell_reconnecting()
        lost = ServerClosed("the connection was lost and did not come back")
        self.timers.append(asyncio.get_running_loop().call_later(give_up_s, self.end, lost))

    def recover(self) -> None:
        """A full reconnect: every voice goes and comes back; who left meanwhile is told of now."""
        was_reconnecting, self.reconnecting, self.muffled = self.reconnecting, False, False
        self._cancel_timers()
        if not was_reconnecting:
            return
        self._subscribe_afresh()
        if self.listener is not None:
            self.listener.on_reconnected()

    def end(self, error: Exception) -> None:
        """The session is over for good."""
        if not self.is_in_room:
            return
        self._go()
        if self.listener is not None and not self._left:
            self.listener.on_closed(error)

    def vanish(self) -> None:
        """The session is over, and nobody is told."""
        self._go()

    def _subscribe_afresh(self) -> None:
        for sid in list(self.voices):
            self.unsubscribe(sid)
        present = self.server.others(self.identity)
        for identity in self._known - set(present):
            self.tell_left(identity)
        for identity in present:
            self.tell_joined(identity)
        for track in self.server.tracks(but=self.identity):
            self.subscribe(track)

    def _tell_reconnecting(self) -> None:
        if self.listener is not None:
            self.listener.on_reconnecting()

    async def _leave(self) -> None:
        await asyncio.sleep(0)
        if self.is_in_room:
            self._go()

    def _go(self) -> None:
        self.is_in_room = self.reconnecting = False
        self._cancel_timers()
        self.server.dismiss(self)
        self.track = None

    def _cancel_timers(self) -> None:
        self._seats.stop()
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def _must_be_in_room(self) -> None:
        if not self.is_in_room:
            raise ServerClosed("the session has ended")


def _identity(token: str) -> str:
    """`fake.<identity>`, or the `sub` of a JWT."""
    if token.startswith("fake."):
        return token.removeprefix("fake.")
    try:
        body = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])
    except (IndexError, ValueError, KeyError) as err:
        raise Rejected("the server refused the token (401)", fix="check the token") from err
