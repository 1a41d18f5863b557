"""What the guest tests run inside the guest: each function is one call, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance.audio.config import AudioConfig
from appliance.audio.opening import open_first
from appliance.audio.portaudio import PortAudioBackend
from appliance.errors import AltoError
from appliance.ports import AudioStream, Block, Direction, StreamSpec
from tests.harness.wait import until

DRIVER: Final = Path("/sys/bus/platform/drivers/snd_aloop")
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
    return open_first(
        backend=PortAudioBackend(), name=name, direction=way, config=AudioConfig(), callback=callback, latency_ms=None
    )


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


def open_failing(name: str, direction: str) -> dict[str, Any]:
    """Open what cannot be opened."""
    return failure(lambda: opened(name, direction, Ear()))


def tone_through(speaker: str, microphone: str, hz: float) -> dict[str, float]:
    """Play on one end of a loopback card, listen on the other: peak frequency and amplitude of a second of it."""
    ear = Ear()
    out, inp = opened(speaker, "output", Mouth(hz)), opened(microphone, "input", ear)
    try:
        ear.heard(inp.rate_hz // 2)  # until the beginning is over
        ear.blocks.clear()
        heard = ear.heard(inp.rate_hz)[:, 0].astype(float)
    finally:
        inp.close()
        out.close()
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    peak_hz = float(np.argmax(spectrum)) * inp.rate_hz / len(heard)
    return {"hz": peak_hz, "amplitude": float(np.sqrt(2 * np.mean(heard**2)))}


def held_by_arecord(pcm: str) -> dict[str, Any]:
    """Both substreams of a device are arecord's; what alto says then, in its list and when it opens."""
    command = ["arecord", "-q", "-D", pcm, "-f", "S16_LE", "-r", "48000", "-c", "2", "/dev/null"]
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(_running(command)) for _ in range(2)]
        address = "plughw:CARD=Loopback_2,DEV=1"
        until(lambda: _busy(address), PATIENCE_S, "arecord to hold the device")
        error = failure(lambda: opened(address, "input", Ear()))
        return {"error": error, "busy": _busy(address), "pids": [holder.pid for holder in holders]}


def _busy(pcm: str) -> str:
    return next(info.busy for info in PortAudioBackend().devices() if info.pcm == pcm)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def unplugged_and_back() -> dict[str, Any]:
    """Pull a card in the middle of a call while another plays on; put it in again; open it by the same name."""
    ear, mouth = Ear(), Mouth(440)
    lost, other = opened("Loopback_1", "input", ear), opened("Loopback", "output", mouth)
    with _running(["sh", "-c", f"echo snd_aloop.1 > {DRIVER}/unbind"]) as puller:  # returns when all have let go
        until(lambda: not _there("Loopback_1"), PATIENCE_S, "the card to go")
        during = {"listed": _there("Loopback_1"), "error": failure(lambda: opened("Loopback_1", "input", Ear()))}
        until(lambda: _silent(ear), PATIENCE_S, "the callbacks to stop")
        before, began = mouth.blocks, time.monotonic()
        lost.close()
        close_s = time.monotonic() - began
        until(lambda: mouth.blocks > before + 20, PATIENCE_S, "the other card to play on")
        puller.wait(PATIENCE_S)
    (DRIVER / "bind").write_text("snd_aloop.1")
    until(lambda: _there("Loopback_1"), PATIENCE_S, "the card to come back")
    again = Ear()
    back = opened("Loopback_1", "input", again)
    again.heard(4800)
    back.close()
    other.close()
    return {**during, "close_s": close_s, "heard_again": len(again.blocks)}


def _there(card_id: str) -> bool:
    return any(info.card_id == card_id for info in PortAudioBackend().devices())


def _silent(ear: Ear) -> bool:
    count = len(ear.blocks)
    time.sleep(0.05)  # five blocks
    return len(ear.blocks) == count


def open_spec(pcm: str, rate_hz: int, channels: int, direction: str = "output") -> dict[str, Any]:
    """One format of one device, no ladder."""
    spec = StreamSpec(pcm, rate_hz, channels, rate_hz // 100, 0.02)

    def call() -> None:
        backend = PortAudioBackend()
        opening = backend.open_playback if direction == "output" else backend.open_capture
        opening(spec, Mouth(440) if direction == "output" else Ear()).close()

    return failure(call)


def shell(command: str) -> str:
    """For looking around."""
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
