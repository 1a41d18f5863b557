"""A second real client that is not ours: LiveKit's SDK alone, in a process of its own.

`SdkPeer` is the test's side. The process (`python -m tests.harness.peer`) takes one JSON request a line on standard
input and answers each with one line on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from livekit import rtc

from tests.harness.netns import Machine
from tests.harness.processes import end, freeze, read_by_threads, resume, spawn
from tests.harness.server import LiveKitServer
from tests.harness.signals import RATE_HZ, SILENCE_DBFS, VOICES_HZ, level_dbfs, tone
from tests.harness.wait import until, until_async

ANSWER_S: Final = 20.0
FRAME: Final = RATE_HZ // 100
KEPT_FRAMES: Final = 500  # 5 s of every voice
Levels = dict[str, dict[float, float]]
"""Identity -> frequency in Hz -> level in dBFS."""


class SdkPeer:
    """Another participant: says a tone, and tells what it hears of whom. Start it from the main thread.

    `machine`: where in a test's network it runs.
    """

    def __init__(
        self, server: LiveKitServer, identity: str, room: str = "home", *, machine: Machine | None = None
    ) -> None:
        self.identity: Final = identity
        self._inside: Final = machine.words if machine else ()
        self._url: Final = server.url
        self._token: Final = server.token(identity, room)
        self._answers: Final[queue.Queue[dict[str, Any]]] = queue.Queue()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: Final[list[str]] = []

    def start(self) -> Self:
        """Join the room; returns when it is in."""
        env = {**os.environ, "ALTO_PEER_TOKEN": self._token}
        words = [*self._inside, sys.executable, "-m", "tests.harness.peer", self._url]
        pipe = subprocess.PIPE
        self._process = spawn(words, env=env, stdin=pipe, stdout=pipe, stderr=pipe)
        read_by_threads(self._read_stdout, self._read_stderr)
        self._answer()
        return self

    def say(self, frequency_hz: float | None, level_dbfs: float = -12.0) -> None:
        """Say a tone from now on; None: silence (its track stays). The first call publishes the track."""
        self._ask(do="say", hz=frequency_hz, dbfs=level_dbfs)

    def stall(self) -> None:
        """Stop sending packets without a word, as a dead uplink does. `say` goes on."""
        self._ask(do="stall")

    def levels(self, frequencies_hz: Sequence[float] = VOICES_HZ, seconds: float = 0.3) -> Levels:
        """What it hears of each participant during the next `seconds`."""
        answer = self._ask(do="levels", hz=list(frequencies_hz), seconds=seconds)
        return {who: {float(hz): level for hz, level in heard.items()} for who, heard in answer["levels"].items()}

    def wait_hears(self, identity: str, frequency_hz: float, deadline_s: float, above_dbfs: float = -40.0) -> float:
        """Until that participant's tone is louder than `above_dbfs`; its level."""
        levels: Levels = {}

        def look() -> float | None:
            levels.update(self.levels((frequency_hz,), 0.2))
            level = levels.get(identity, {}).get(frequency_hz, SILENCE_DBFS)
            return level if level > above_dbfs else None

        found = until(look, deadline_s, lambda: f"{self.identity} to hear {identity} at {frequency_hz} Hz: {levels}")
        assert found is not None
        return found

    def participants(self) -> set[str]:
        """Identities of the others in the room."""
        return set(self._ask(do="participants")["participants"])

    def send_data(self, text: str, topic: str) -> None:
        """Publish a data packet to everybody."""
        self._ask(do="data", text=text, topic=topic)

    def leave(self) -> None:
        """Leave the room properly and end. Idempotent."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(PeerFailed, BrokenPipeError):
            self._ask(do="leave")
        end(self._process, (signal.SIGTERM, 5.0))

    def freeze(self) -> None:
        """SIGSTOP: everything about it stands still, its connections stay open."""
        assert self._process is not None
        freeze(self._process.pid)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        resume(self._process.pid)

    def kill(self) -> None:
        """Gone without a goodbye."""
        if self._process is not None:
            end(self._process)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process is not None:
            self.thaw()
            self.leave()

    # ---- steps -------------------------------------------------------------------------------------------------

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process is not None, "the peer was not started"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            raise PeerFailed(f"{self.identity} gave no answer in {ANSWER_S:g} s\n{''.join(self._stderr)}") from None
        if "error" in answer:
            raise PeerFailed(f"{self.identity}: {answer['error']}\n{''.join(self._stderr)}")
        return answer

    def _read_stdout(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put({"error": "its process ended"})

    def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace"))


class PeerFailed(Exception):
    """The other client could not do what it was asked."""


# ---- the process -----------------------------------------------------------------------------------------------


class _Voice:
    """The last seconds of one subscribed track."""

    def __init__(self, identity: str, track: rtc.Track) -> None:
        self.identity = identity
        self.frames: deque[np.ndarray[Any, Any]] = deque(maxlen=KEPT_FRAMES)
        self.count = 0
        self._stream = rtc.AudioStream.from_track(track=track, sample_rate=RATE_HZ, num_channels=1, capacity=50)
        self._task = asyncio.create_task(self._pump())

    async def _pump(self) -> None:
        async for event in self._stream:
            self.frames.append(np.frombuffer(event.frame.data, np.int16).copy())
            self.count += 1

    async def aclose(self) -> None:
        await self._stream.aclose()
        await asyncio.wait({self._task}, timeout=1.0)

    async def levels(self, frequencies_hz: Sequence[float], seconds: float) -> dict[float, float]:
        before, wanted = self.count, max(1, round(seconds * 100))
        with contextlib.suppress(AssertionError):  # fewer came: judged all the same
            await until_async(lambda: self.count >= before + wanted, seconds + 1.0, "frames")
        fresh = min(wanted, self.count - before, len(self.frames))
        samples = np.concatenate(list(self.frames)[-fresh:]) if fresh else np.zeros(0, np.int16)
        return {hz: round(level_dbfs(samples, hz), 2) for hz in frequencies_hz}


class _Client:
    """One participant made of nothing but the SDK."""

    def __init__(self) -> None:
        self._room = rtc.Room()
        self._voices: dict[str, _Voice] = {}
        self._source: rtc.AudioSource | None = None
        self._wave = np.zeros(RATE_HZ, np.int16)
        self._sending = True
        self._feeder: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._room.on("track_subscribed", self._on_track)
        self._room.on("track_unsubscribed", self._on_track_gone)

    async def join(self, url: str, token: str) -> None:
        await self._room.connect(url, token)

    def _on_track(self, track: rtc.Track, publication: object, participant: rtc.RemoteParticipant) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._voices[track.sid] = _Voice(participant.identity, track)

    def _on_track_gone(self, track: rtc.Track, publication: object, participant: rtc.RemoteParticipant) -> None:
        if voice := self._voices.pop(track.sid, None):
            task = asyncio.create_task(voice.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = await getattr(self, f"_do_{request.pop('do')}")(**request)
        return answer or {}

    async def _do_say(self, hz: float | None, dbfs: float) -> None:
        # One second holds whole periods of any whole frequency, so it repeats without a jump.
        self._wave = tone(round(hz), 1.0, dbfs) if hz is not None else np.zeros(RATE_HZ, np.int16)
        self._sending = True
        if self._source is None:
            self._source = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=100)
            track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await self._room.local_participant.publish_track(track, options)
            self._feeder = asyncio.create_task(self._feed(self._source))

    async def _feed(self, source: rtc.AudioSource) -> None:
        at = 0
        while True:
            if not self._sending:
                await asyncio.sleep(0.01)
                continue
            frame = self._wave[at : at + FRAME]
            at = (at + FRAME) % RATE_HZ
            await source.capture_frame(rtc.AudioFrame(frame.tobytes(), RATE_HZ, 1, FRAME))

    async def _do_stall(self) -> None:
        self._sending = False

    async def _do_levels(self, hz: Sequence[float], seconds: float) -> dict[str, Any]:
        voices = list(self._voices.values())
        levels = await asyncio.gather(*(voice.levels(hz, seconds) for voice in voices))
        return {"levels": {voice.identity: level for voice, level in zip(voices, levels, strict=True)}}

    async def _do_participants(self) -> dict[str, Any]:
        return {"participants": [p.identity for p in self._room.remote_participants.values()]}

    async def _do_data(self, text: str, topic: str) -> None:
        await self._room.local_participant.publish_data(text, topic=topic)

    async def _do_leave(self) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.wait({self._feeder}, timeout=1.0)
        for voice in list(self._voices.values()):
            await voice.aclose()
        await self._room.disconnect()


async def _serve(url: str, token: str) -> None:
    client = _Client()
    await client.join(url, token)
    _say({"joined": True})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        request = json.loads(line)
        last = request["do"] == "leave"
        try:
            _say(await client.handle(request))
        except Exception as error:  # told to the test, which fails with it
            _say({"error": repr(error)})
        if last:
            return


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    """The peer's process: the URL as its argument, the token in ALTO_PEER_TOKEN."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("url")
    asyncio.run(_serve(parser.parse_args().url, os.environ["ALTO_PEER_TOKEN"]))


if __name__ == "__main__":
    main()
