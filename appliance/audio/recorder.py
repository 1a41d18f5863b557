"""`AudioRecorder`: what was said and heard, as PCM or as a WAV file, without taking a sample from anybody.

The audio threads write to rings of the recorder and know nothing of it; a slow disk or socket loses sound of the
recording, counted, and of nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import wave
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np

from appliance.audio.ring import FrameRing
from appliance.ports import Block, Samples

CHUNK_S: Final = 0.02  # of sound in each chunk
LAG_S: Final = (
    0.3  # how far the recording is behind: longer than a device's longest bunch of blocks (PulseAudio, 0.2 s)
)
WAITING_S: Final = 5.0  # how long a sink may be stuck before sound of the recording is lost
WAV_BYTES_MAX: Final = 2**32 - 2**16  # the format counts bytes in 32 bits: 12 hours of 48 kHz mono

Sink = Callable[[bytes], Awaitable[None]]
"""Takes interleaved little-endian int16; may take its time."""


class TapPoint(Protocol):
    """Where sound can be listened to: `AudioMixer` (what is heard), `ProcessedFrames` (what is said)."""

    def add_tap(self, ring: FrameRing) -> None: ...

    def remove_tap(self, ring: FrameRing) -> None: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a recording."""

    frames: int
    dropped: int
    """Samples lost because the sink was too slow."""


class _Track:
    """One tap's side of the recording, in step with the clock: silence where the device gave nothing."""

    def __init__(self, rate_hz: int) -> None:
        self.ring = FrameRing(round(WAITING_S * rate_hz))
        self._reserve = round(LAG_S * rate_hz / 2)
        self._collecting = True

    def read(self, out: Samples) -> None:
        """Fill `out`; a device that begins late, or comes back, is collected for a while first, so that its sound
        has no holes."""
        out.fill(0)
        if self._collecting and self.ring.fill < self._reserve:
            return
        self._collecting = self.ring.read(out) < out.size


class AudioRecorder:
    """Records tap points side by side: one makes mono, two make stereo in the order given. Loop thread only."""

    def __init__(self, *, rate_hz: int = 48000) -> None:
        self.rate_hz: Final = rate_hz

    async def record(self, taps: Sequence[TapPoint], seconds: float, sink: Sink) -> Recorded:
        """Give `seconds` of sound to `sink`, chunk by chunk, from now on. Takes 0.3 s longer than that."""
        frames, tracks = 0, [_Track(self.rate_hz) for _ in taps]
        async with contextlib.aclosing(self._chunks(taps, tracks, seconds)) as chunks:
            async for chunk in chunks:
                await sink(chunk.astype("<i2", copy=False).tobytes())
                frames += len(chunk)
        return Recorded(frames, sum(track.ring.dropped for track in tracks))

    async def chunks(self, taps: Sequence[TapPoint], seconds: float) -> AsyncGenerator[Block, None]:
        """The same as an iterator of int16, shape (frames, len(taps)); close it (`contextlib.aclosing`)."""
        tracks = [_Track(self.rate_hz) for _ in taps]
        async with contextlib.aclosing(self._chunks(taps, tracks, seconds)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _chunks(
        self, taps: Sequence[TapPoint], tracks: Sequence[_Track], seconds: float
    ) -> AsyncGenerator[Block, None]:
        loop = asyncio.get_running_loop()
        with _tapped(taps, tracks):
            begin_s, total, done = loop.time() + LAG_S, round(seconds * self.rate_hz), 0
            while done < total:
                size = min(round(CHUNK_S * self.rate_hz), total - done)
                done += size
                await asyncio.sleep(begin_s + done / self.rate_hz - loop.time())
                yield _side_by_side(tracks, size)


@contextlib.contextmanager
def _tapped(taps: Sequence[TapPoint], tracks: Sequence[_Track]) -> Iterator[None]:
    for tap, track in zip(taps, tracks, strict=True):
        tap.add_tap(track.ring)
    try:
        yield
    finally:
        for tap, track in zip(taps, tracks, strict=True):
            tap.remove_tap(track.ring)


def _side_by_side(tracks: Sequence[_Track], size: int) -> Block:
    sides = np.zeros((len(tracks), size), np.int16)
    for track, side in zip(tracks, sides, strict=True):
        track.read(side)
    return np.ascontiguousarray(sides.T)


class WavWriter:
    """A 16-bit WAV file whose header is right after every `write`: whoever is cut short leaves a file that plays.

    Blocks: in a program of its own, or through `asyncio.to_thread` (`wav_sink`). Needs a file that can seek.
    """

    def __init__(self, path: Path | str, *, rate_hz: int, channels: int) -> None:
        self.frames = 0
        """Frames written."""
        self._frame_bytes: Final = 2 * channels
        self._rest = b""
        self._raw = Path(path).open("wb")  # noqa: SIM115 (the writer is the context manager)
        self._wave = wave.open(self._raw, "wb")  # noqa: SIM115
        self._wave.setparams((channels, 2, rate_hz, 0, "NONE", "not compressed"))
        self.write(b"")

    def write(self, pcm: bytes) -> None:
        """Append interleaved little-endian int16; a part of a frame waits for the rest. Raises OSError."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % self._frame_bytes
        if self.frames * self._frame_bytes + whole > WAV_BYTES_MAX:
            raise OSError(errno.EFBIG, "a WAV file ends at 4 GiB", self._raw.name)
        self._rest = pcm[whole:]
        self._wave.writeframes(pcm[:whole])
        self._raw.flush()
        self.frames += whole // self._frame_bytes

    def close(self) -> None:
        """Idempotent."""
        self._wave.close()
        self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def wav_sink(writer: WavWriter) -> Sink:
    """Have `AudioRecorder.record` write to the file on a thread of its own."""

    async def sink(pcm: bytes) -> None:
        await asyncio.to_thread(writer.write, pcm)

    return sink
