"""What the guest tests run inside the guest: each function is one call, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from appliance.audio.config import AudioConfig
from appliance.audio.opening import open_first
from appliance.audio.portaudio import PortAudioBackend
from appliance.errors import AltoError
from appliance.ports import AudioStream, Block, Direction, StreamSpec
from tests.harness.wait import until

PATIENCE_S: Final = 10.0


class Ear:
    """A capture callback that counts and keeps what it heard."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def __call__(self, block: Block, overflowed: bool) -> None:
        self.blocks.append(block.copy())

    def heard(self, frames: int) -> Block:
        """The last `frames`, once so many came."""
        until(lambda: sum(map(len, self.blocks)) >= frames, PATIENCE_S, "sound from the device")
        return np.concatenate(self.blocks)[-frames:]


class Mouth:
    """A playback callback that plays a sine on all channels."""

    def __init__(self, hz: float, rate_hz: int = 48000) -> None:
        self.blocks = 0
        self._step = 2 * np.pi * hz / rate_hz
        self._position = 0

    def __call__(self, out: Block, underflowed: bool) -> None:
        phase = self._step * (self._position + np.arange(len(out)))
        out[:] = np.round(np.sin(phase) * 16000).astype(np.int16)[:, None]
        self._position += len(out)
        self.blocks += 1


def opened(name: str | None, direction: str, callback: Any) -> AudioStream:
    """Open as alto does."""
    way = Direction(direction)
    return open_first(backend=PortAudioBackend(), name=name, direction=way, config=AudioConfig(), callback=callback)


def failure(call: Callable[[], object]) -> dict[str, Any]:
    """The error of a call: class, sentence, facts."""
    try:
        call()
    except AltoError as error:
        return {"kind": type(error).__name__, "text": str(error), "facts": {k: str(v) for k, v in error.facts.items()}}
    return {"kind": "", "text": "", "facts": {}}


def listed() -> list[dict[str, Any]]:
    """What `alto devices` shows."""
    fields = ("pcm", "name", "card_id", "card_index", "input_channels", "output_channels", "rates_hz", "busy")
    return [{field: getattr(info, field) for field in fields} for info in PortAudioBackend().devices()]


def open_by(name: str, direction: str) -> dict[str, Any]:
    """Open by a name, wait for sound, close."""
    callback = Ear() if direction == "input" else Mouth(440)
    stream = opened(name, direction, callback)
    try:
        return {
            "pcm": stream.pcm,
            "rate_hz": stream.rate_hz,
            "channels": stream.channels,
            "latency_s": stream.latency_s,
        }
    finally:
        stream.close()


def open_each(names: list[str], direction: str) -> dict[str, dict[str, Any]]:
    """`open_by` for each of the names."""
    return {name: open_by(name, direction) for name in names}


def open_failing(name: str, direction: str) -> dict[str, Any]:
    """Open what cannot be opened."""
    return failure(lambda: opened(name, direction, Ear()))


def open_spec(pcm: str, rate_hz: int, channels: int, direction: str = "output") -> dict[str, Any]:
    """One format of one device, no ladder."""
    spec = StreamSpec(pcm, rate_hz, channels, rate_hz // 100, 0.02)

    def call() -> None:
        backend = PortAudioBackend()
        opening = backend.open_playback if direction == "output" else backend.open_capture
        opening(spec, Mouth(440) if direction == "output" else Ear()).close()

    return failure(call)


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program beside us, ended by its pid."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def shell(command: str) -> str:
    """For looking around."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
