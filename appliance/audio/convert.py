"""Between a device's format and ours: channels and rate. One converter for each opening; one audio thread's.

For a device at our rate `Varispeed` keeps the clocks together. For others soxr's variable-rate engine does both. Its
ordinary engine works in bunches of 20 ms (44.1 ↔ 48 kHz) to 37 ms (16 ↔ 48 kHz) whatever the quality; this one gives
a block for each block after 5 ms (12 to 15 ms for 16 kHz), at 115 dB SNR and 15 µs a block (measured, soxr 1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import soxr

from appliance.audio.pcm import F32, Scratch, mix_down, mix_up, store_int16
from appliance.audio.ring import FrameRing
from appliance.audio.varispeed import SPEED_MAX, Varispeed
from appliance.ports import Block, Samples

_WARM_UP_S: Final = 0.1  # of silence; the engine's delay is 15 ms at most
_SPARE: Final = 2  # samples kept ready: what the engine gives for a block is a sample more or less each time
_PULLS_MAX: Final = 4  # one is the rule


def resampler(from_hz: int, to_hz: int) -> Callable[[F32], F32] | None:
    """A warm one: it returns as much as it is given, times the ratio. None when there is nothing to do."""
    if from_hz == to_hz:
        return None
    engine = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ", vr=True)
    engine.resample_chunk(np.zeros(round(from_hz * _WARM_UP_S), np.float32))
    resample: Callable[[F32], F32] = engine.resample_chunk
    return resample


class CaptureConverter:
    """Device blocks in, mono at our rate out."""

    def __init__(self, *, device_hz: int, rate_hz: int, block_frames: int, channel: str = "mix") -> None:
        """`channel`: see `AudioConfig.input_channel`; of a device with one channel it is that one."""
        self._one = {"left": slice(0, 1), "right": slice(1, 2)}.get(channel)
        self._resample = resampler(device_hz, rate_hz)
        self._mono = Scratch(np.float32, block_frames)
        self._spare = Scratch(np.float32, block_frames)

    def convert(self, block: Block) -> F32:
        """Scaled float32, valid until the next call. Resampled sound may be a few samples longer or shorter."""
        if self._one is not None and block.shape[1] > 1:
            block = block[:, self._one]
        mono = mix_down(block, self._mono.get(len(block)), self._spare.get(len(block)))
        return mono if self._resample is None else self._resample(mono)


class PlaybackConverter:
    """Pulls mono at our rate and makes device blocks of it, a little faster or slower as it is told."""

    def __init__(
        self,
        *,
        device_hz: int,
        rate_hz: int,
        block_frames: int,
        pull: Callable[[F32], None],
        speed: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`speed`: samples to pull for each one at the device's nominal rate, beside the ratio of the rates."""
        self._speed = speed
        self._mono = Scratch(np.int16, block_frames)
        self._player: Varispeed | OtherRate = (
            Varispeed(pull) if device_hz == rate_hz else OtherRate(device_hz, rate_hz, block_frames, pull)
        )

    def fill(self, out: Block) -> Samples:
        """Fill a device block, shape (frames, channels). Returns what was played, mono at the device's rate, valid
        until the next call."""
        mono = self._mono.get(len(out))
        self._player.fill(mono, self._speed())
        mix_up(mono, out)
        return mono


class OtherRate:
    """Plays for a device that runs at another rate than ours."""

    def __init__(self, device_hz: int, rate_hz: int, block_frames: int, pull: Callable[[F32], None]) -> None:
        self._engine = soxr.ResampleStream(rate_hz * SPEED_MAX, device_hz, 1, dtype="float32", vr=True)
        self._ratio: Final = rate_hz / device_hz
        self._pull = pull
        self._pace = 0.0
        self._ours = Scratch(np.float32, block_frames)
        self._theirs = Scratch(np.int16, block_frames)
        self._ready = FrameRing(device_hz)  # never more than a block and what rounding left over
        self._set_pace(1.0)
        self._engine.resample_chunk(np.zeros(round(rate_hz * _WARM_UP_S), np.float32))

    def fill(self, out: Samples, speed: float) -> None:
        """Fill `out`, shape (n,), at `speed`; silence where the engine gives nothing."""
        self._set_pace(speed)
        for _ in range(_PULLS_MAX):
            missing = out.size - self._ready.fill
            if missing <= 0:
                break
            ours = self._ours.get(math.ceil((missing + _SPARE) * self._ratio * speed))
            self._pull(ours)
            theirs = self._engine.resample_chunk(ours)
            self._ready.write(store_int16(theirs, self._theirs.get(theirs.size)))
        out[self._ready.read(out) :] = 0

    def _set_pace(self, speed: float) -> None:
        if speed != self._pace:
            self._pace = speed
            self._engine.set_io_ratio(self._ratio * speed, 1.0)
