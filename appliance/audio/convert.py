"""Between a device's format and ours: channels and rate. One converter for each opening; one audio thread's.

The resampler is soxr's variable-rate engine with a fixed ratio. Its ordinary engine works in bunches of 20 ms (44.1 ↔
48 kHz) to 37 ms (16 ↔ 48 kHz) whatever the quality; this one gives a block for each block after 5 ms (12 to 15 ms for
16 kHz), at 115 dB SNR and 15 µs a block (measured, soxr 1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import soxr

from appliance.audio.pcm import F32, Scratch, mix_down, mix_up, store_int16
from appliance.audio.ring import FrameRing
from appliance.ports import Block, Samples

_WARM_UP_S: Final = 0.1  # of silence; the engine's delay is 15 ms at most
_SPARE: Final = 2  # samples kept ready: what the engine gives for a block is a sample more or less each time
_PULLS_MAX: Final = 4  # one is the rule


def _resampler(from_hz: int, to_hz: int) -> Callable[[F32], F32] | None:
    """Warm: it returns as much as it is given, times the ratio. None when there is nothing to do."""
    if from_hz == to_hz:
        return None
    engine = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ", vr=True)
    engine.resample_chunk(np.zeros(round(from_hz * _WARM_UP_S), np.float32))
    resample: Callable[[F32], F32] = engine.resample_chunk
    return resample


class CaptureConverter:
    """Device blocks in, mono at our rate out."""

    def __init__(self, *, device_hz: int, rate_hz: int, block_frames: int) -> None:
        self._resample = _resampler(device_hz, rate_hz)
        self._mono = Scratch(np.float32, block_frames)

    def convert(self, block: Block) -> F32:
        """Scaled float32, valid until the next call. Resampled sound may be a few samples longer or shorter."""
        mono = mix_down(block, self._mono.get(len(block)))
        return mono if self._resample is None else self._resample(mono)


class PlaybackConverter:
    """Pulls mono at our rate and makes device blocks of it."""

    def __init__(self, *, device_hz: int, rate_hz: int, block_frames: int, pull: Callable[[Samples], None]) -> None:
        self._resample = _resampler(rate_hz, device_hz)
        self._ratio: Final = rate_hz / device_hz
        self._pull = pull
        self._mono = Scratch(np.int16, block_frames)
        self._ours = Scratch(np.int16, block_frames)
        self._scaled = Scratch(np.float32, block_frames)
        self._ready = FrameRing(device_hz)  # never more than a block and what rounding left over

    def fill(self, out: Block) -> Samples:
        """Fill a device block, shape (frames, channels). Returns what was played, mono at the device's rate, valid
        until the next call."""
        mono = self._mono.get(len(out))
        if self._resample is None:
            self._pull(mono)
        else:
            self._pull_resampled(self._resample, mono)
        mix_up(mono, out)
        return mono

    def _pull_resampled(self, resample: Callable[[F32], F32], mono: Samples) -> None:
        for _ in range(_PULLS_MAX):
            missing = mono.size - self._ready.fill
            if missing <= 0:
                break
            ours = self._ours.get(math.ceil((missing + _SPARE) * self._ratio))
            self._pull(ours)
            scaled = self._scaled.get(ours.size)
            np.copyto(scaled, ours)
            theirs = resample(scaled)
            self._ready.write(store_int16(theirs, np.empty(theirs.size, np.int16)))
        mono[self._ready.read(mono) :] = 0
