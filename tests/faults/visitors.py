"""Participants made of nothing but LiveKit's SDK, by the hundred: whoever comes and goes, and one that always returns.

`python -m tests.faults.visitors stay|come URL` is the process; each line of its standard output is one JSON object.
`stay` does with the bare SDK what a station does (one microphone out, every voice in, a new room after each end): what
its memory grows by is the SDK's. At SIGUSR1 it leaves by itself and comes back. `come` joins, says something and
leaves, several at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from livekit import rtc

RATE_HZ: Final = 48_000
FRAME: Final = RATE_HZ // 100
SAID_S: Final = 0.2  # long enough that the others have subscribed and hear it
PARTING_S: Final = 2.0
ALONE_S: Final = 3.0
FAILURES: Final = (rtc.ConnectError, rtc.participant.PublishTrackError, TimeoutError)


class Resident:
    """One participant that is in the room for ever, in a new session after each end."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self.sessions = 0
        self._leave = asyncio.Event()

    async def run(self) -> None:
        """Join again and again; tells each time."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: self._leave.set())
        while True:
            self._leave = asyncio.Event()
            room = rtc.Room()
            try:
                await self._session(room)
            except FAILURES as error:
                _tell(failed=repr(error))  # the room was still closing
                await asyncio.wait_for(room.disconnect(), PARTING_S)
            # The SDK's objects know each other in circles, and each holds memory that Python does not count.
            del room
            gc.collect()

    async def _session(self, room: rtc.Room) -> None:
        over, heard = self._leave, asyncio.Event()
        voices: dict[str, _Voice] = {}
        tasks: set[asyncio.Task[None]] = set()
        room.on("disconnected", lambda *_: over.set())
        room.on("track_subscribed", lambda *_: heard.set())
        room.on("track_subscribed", lambda track, pub, _who: voices.setdefault(pub.sid, _Voice(track)))
        room.on("track_unsubscribed", lambda _track, pub, _who: _end(voices.pop(pub.sid, None), tasks))
        room.on("reconnecting", lambda *_: _tell(reconnecting=True))
        room.on("reconnected", lambda *_: _tell(reconnected=True))
        await room.connect(self._url, self._token)
        source = await _publish(room)
        feeder = asyncio.create_task(_feed(source, lambda: False))
        self.sessions += 1
        _tell(session=self.sessions)
        if await _came(heard, over):
            _tell(heard=self.sessions)
            await over.wait()
        feeder.cancel()
        await asyncio.wait({feeder})
        await asyncio.gather(*(voice.aclose() for voice in voices.values()), *tasks)
        await asyncio.wait_for(room.disconnect(), PARTING_S)
        await source.aclose()


async def _came(heard: asyncio.Event, over: asyncio.Event) -> bool:
    """Whether there is somebody. Who joins a room that is being deleted stays alone in it: then it must leave."""
    waiting = {asyncio.create_task(event.wait()) for event in (heard, over)}
    await asyncio.wait(waiting, timeout=ALONE_S, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()
    return heard.is_set()


class Crowd:
    """`count` participants, `at_once` of them at a time, each under a name of its own."""

    def __init__(self, url: str, tokens: list[str], at_once: int) -> None:
        self._url = url
        self._waiting = list(enumerate(tokens))
        self._at_once = at_once

    async def run(self) -> None:
        """Until each has been there; tells of each that left."""
        await asyncio.gather(*(self._one_after_the_other() for _ in range(self._at_once)))

    async def _one_after_the_other(self) -> None:
        while self._waiting:
            number, token = self._waiting.pop(0)
            room = rtc.Room()
            try:
                await self._visit(room, token)
                _tell(visited=number)
            except FAILURES as error:
                _tell(failed=repr(error))  # a busy machine: once more, later
                self._waiting.append((number, token))
                await asyncio.wait_for(room.disconnect(), PARTING_S)

    async def _visit(self, room: rtc.Room, token: str) -> None:
        await room.connect(self._url, token, rtc.RoomOptions(auto_subscribe=False))
        source = await _publish(room)
        until_s = asyncio.get_running_loop().time() + SAID_S
        await _feed(source, lambda: asyncio.get_running_loop().time() > until_s)
        await room.disconnect()
        await source.aclose()


class _Voice:
    """A subscribed track, read and thrown away."""

    def __init__(self, track: Any) -> None:
        self._stream = rtc.AudioStream(track, sample_rate=RATE_HZ, num_channels=1, capacity=10)
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for _ in self._stream:
            pass

    async def aclose(self) -> None:
        await asyncio.wait({asyncio.create_task(self._stream.aclose())}, timeout=PARTING_S)
        await asyncio.wait({self._reader}, timeout=PARTING_S)
        self._reader.cancel()


def _end(voice: _Voice | None, tasks: set[asyncio.Task[None]]) -> None:
    if voice is not None:
        task = asyncio.create_task(voice.aclose())
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _publish(room: rtc.Room) -> rtc.AudioSource:
    source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=0)
    track = rtc.LocalAudioTrack.create_audio_track("voice", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    # An answer never comes when the room is closed at this moment.
    await asyncio.wait_for(room.local_participant.publish_track(track, options), PARTING_S)
    return source


async def _feed(source: rtc.AudioSource, over: Callable[[], bool]) -> None:
    """A quiet noise, 10 ms by the clock, until `over`."""
    noise = np.random.default_rng(1).integers(-300, 300, FRAME, np.int16).tobytes()
    due_s = asyncio.get_running_loop().time()
    while not over():
        await source.capture_frame(rtc.AudioFrame(noise, RATE_HZ, 1, FRAME))
        due_s += 0.01
        await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))


def _tell(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """The process: tokens, one a line, on standard input."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("part", choices=("stay", "come"))
    parser.add_argument("url")
    parser.add_argument("--at-once", type=int, default=1)
    args = parser.parse_args()
    tokens = sys.stdin.read().split()
    part = Resident(args.url, tokens[0]) if args.part == "stay" else Crowd(args.url, tokens, args.at_once)
    asyncio.run(part.run())
    os._exit(0)  # the SDK's threads take their time


if __name__ == "__main__":
    main()
