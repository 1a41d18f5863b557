"""Other participants of a room, many in one process: who only says something and listens to nobody.

`Crowd` is the bench's side. The process (`python -m tests.bench.crowd`) joins them all, then says so on standard
output with the word `ready`, and stays until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import numpy as np
from livekit import rtc

from tests.harness.processes import end, spawn
from tests.harness.server import LiveKitServer
from tests.harness.signals import RATE_HZ, tone

TALKING: Final = "talking"
SILENT: Final = "silent"
MUTED: Final = "muted"
STATES: Final = (TALKING, SILENT, MUTED)
"""What the others do: talk all the time, have an open microphone in a quiet room, or have muted it."""

FIRST_HZ: Final = 1487
APART_HZ: Final = 46
"""Sixteen tones between the two that are measured and the marks: far enough from both to leave them alone."""
LEVEL_DBFS: Final = -20.0
FRAME: Final = RATE_HZ // 10
QUEUE_MS: Final = 200
"""Frames of 100 ms over the SDK's own clock: ten calls a second for each, so that the crowd costs little."""


class Crowd:
    """Participants that fill a room. Start it from the main thread."""

    def __init__(self, server: LiveKitServer, room: str, count: int, state: str = TALKING) -> None:
        self._url: Final = server.url
        self._tokens: Final = [server.token(f"guest-{number}", room) for number in range(count)]
        self._state: Final = state
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if not self._tokens:
            return self
        env = {**os.environ, "LIVEKIT_URL": self._url, "ALTO_CROWD_TOKENS": " ".join(self._tokens)}
        words = [sys.executable, "-m", "tests.bench.crowd", self._state]
        self._process = spawn(words, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == b"ready\n", f"the crowd did not come: {said!r}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(3.0)
            end(self._process, (signal.SIGTERM, 1.0))


# ---- the process -----------------------------------------------------------------------------------------------


class _Guest:
    """One of them."""

    def __init__(self, number: int, state: str) -> None:
        self._state = state
        self._wave = tone(FIRST_HZ + APART_HZ * number, 1.0, LEVEL_DBFS)
        if state != TALKING:
            self._wave = np.zeros_like(self._wave)
        self._room = rtc.Room()
        self._source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=QUEUE_MS)
        self._feeder: asyncio.Task[None] | None = None

    async def join(self, url: str, token: str) -> None:
        await self._room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        if self._state == MUTED:
            track.mute()
        self._feeder = asyncio.create_task(self._feed())

    async def _feed(self) -> None:
        at = 0
        while True:
            data = self._wave[at : at + FRAME].tobytes()
            await self._source.capture_frame(rtc.AudioFrame(data, RATE_HZ, 1, FRAME))
            at = (at + FRAME) % RATE_HZ

    async def leave(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.wait({self._feeder}, timeout=1.0)
        await self._room.disconnect()


async def _serve(url: str, tokens: Sequence[str], state: str) -> None:
    guests = [_Guest(number, state) for number in range(len(tokens))]
    await asyncio.gather(*(guest.join(url, token) for guest, token in zip(guests, tokens, strict=True)))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await asyncio.wait([asyncio.create_task(guest.leave()) for guest in guests], timeout=2.0)


def main() -> None:
    """The crowd's process: the address in LIVEKIT_URL, one token for each participant in ALTO_CROWD_TOKENS."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", choices=STATES)
    state = parser.parse_args().state
    asyncio.run(_serve(os.environ["LIVEKIT_URL"], os.environ["ALTO_CROWD_TOKENS"].split(), state))


if __name__ == "__main__":
    main()
