"""Sample arithmetic, pure: conversion, channels, gain and level. What takes `out=` allocates nothing.

Two scales of float32 occur. "Unit" is PortAudio's and the description's, −1.0 to 1.0. "Scaled" is int16's range held
in float32, in which the mixer and the handlers calculate: int16 goes in and comes back exactly.
"""

from __future__ import annotations

import math
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from appliance.ports import Block, Samples

F32 = NDArray[np.float32]
"""Mono float32 samples, shape (n,)."""

S = TypeVar("S", np.float32, np.int16)

INT16_MIN: Final = -32768
INT16_MAX: Final = 32767
UNIT: Final = 32767.0  # not 32768: +1.0 has to fit into int16
FULL_SCALE: Final = 32768.0  # 0 dBFS; a sine that touches the rails has −3.0 dBFS RMS
FLOOR_DBFS: Final = -120.0  # below what 16 bits can hold: digital silence
STEREO: Final = 2
VOLUME_MAX: Final = 4.0  # +12 dB: enough for a timid microphone, not enough to hurt


def to_int16(samples: F32 | Samples, out: Samples | None = None) -> Samples:
    """Convert unit float32, any shape, to int16; int16 is passed on as it is.

    ×32767, rounded to the nearest (truncation would add distortion around zero), clipped: 1.0 → 32767, −1.0 → −32767,
    1.5 and +inf → 32767, −1.5 and −inf → −32768, NaN → 0.
    """
    if samples.dtype == np.int16:
        if out is None:
            return samples.astype(np.int16, copy=False)
        np.copyto(out, samples)
        return out
    scaled = np.nan_to_num(np.clip(np.asarray(samples, np.float32), -2.0, 2.0), copy=False, nan=0.0)
    scaled *= UNIT
    return store_int16(scaled, np.empty(scaled.shape, np.int16) if out is None else out)


def store_int16(scaled: F32, out: Samples) -> Samples:
    """Round and clip scaled float32 (no NaN) into `out`, same shape. Uses `scaled` as its scratch."""
    np.rint(scaled, out=scaled)
    np.maximum(scaled, INT16_MIN, out=scaled)
    np.minimum(scaled, INT16_MAX, out=scaled)
    np.copyto(out, scaled, casting="unsafe")
    return out


def to_float32(samples: Samples, out: F32 | None = None) -> F32:
    """Convert int16 to unit float32: /32767. −32768 becomes a hair less than −1.0."""
    out = np.empty(samples.shape, np.float32) if out is None else out
    np.divide(samples, np.float32(UNIT), out=out, dtype=np.float32)
    return out


def mix_down(block: Block, out: F32 | None = None, spare: F32 | None = None) -> F32:
    """Make an int16 block, shape (frames, channels), mono: scaled float32, shape (frames,).

    Two channels are averaged: one-sided sound comes out 6 dB softer, and two sides never clip. Of more only the first
    counts: microphone arrays put their processed sound there, and some of them the loudspeaker's on another. `spare`,
    like `out`, is scratch for the second channel: numpy would allocate some to add what it has to convert.
    """
    out = np.empty(len(block), np.float32) if out is None else out
    np.copyto(out, block[:, 0])
    if block.shape[1] == STEREO:
        other = np.empty(len(block), np.float32) if spare is None else spare
        np.copyto(other, block[:, 1])
        np.add(out, other, out=out)
        np.multiply(out, np.float32(0.5), out=out)
    return out


def mix_up(mono: Samples, out: Block) -> Block:
    """Put mono, shape (frames,), on every channel of `out`, shape (frames, channels)."""
    np.copyto(out, mono[:, np.newaxis])
    return out


def dbfs(amplitude: float) -> float:
    """An int16 amplitude in dBFS, never below the floor."""
    return max(FLOOR_DBFS, 20 * math.log10(amplitude / FULL_SCALE)) if amplitude > 0 else FLOOR_DBFS


def rms_dbfs(samples: Samples) -> float:
    """Root mean square in dBFS."""
    return dbfs(math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))) if samples.size else FLOOR_DBFS


def peak_dbfs(samples: Samples) -> float:
    """Highest absolute sample in dBFS."""
    return dbfs(peak(samples)) if samples.size else FLOOR_DBFS


def peak(samples: Samples | F32) -> float:
    """Highest absolute sample; `samples` must not be empty."""
    # Not `samples.max()`: on the way to this, that goes through a function of numpy's in Python.
    return max(float(np.maximum.reduce(samples)), -float(np.minimum.reduce(samples)))


def count_clipped(samples: Samples) -> int:
    """Samples that stand at a rail."""
    return int(np.count_nonzero(samples >= INT16_MAX)) + int(np.count_nonzero(samples <= -INT16_MAX))


def checked_volume(volume: float) -> float:
    """`volume` if it is one. Raises ValueError outside 0.0 to 4.0."""
    if not 0.0 <= volume <= VOLUME_MAX:
        raise ValueError(f"volume {volume}: 0.0 to {VOLUME_MAX}")
    return float(volume)


class Scratch(Generic[S]):
    """Memory of an audio thread: made once, grows only when a device asks for a longer block than ever before."""

    def __init__(self, dtype: type[S], size: int) -> None:
        self._memory: NDArray[S] = np.zeros(size, dtype)

    def get(self, size: int) -> NDArray[S]:
        """`size` elements with whatever is in them, shape (size,)."""
        if size > self._memory.size:
            self._memory = np.zeros(size, self._memory.dtype)
        return self._memory[:size]


class GainRamp:
    """Gain changes without a step. One audio thread's."""

    def __init__(self, size: int) -> None:
        self._steps = np.arange(1, size + 1, dtype=np.float32)
        self._gains = np.empty(size, np.float32)

    def apply(self, samples: F32, before: float, after: float, over: int | None = None) -> None:
        """Multiply in place by a gain that goes from `before` to `after` within `over` samples (None: all), then stays.

        The last sample of the ramp has exactly the gain `after`, so that ramps of neighbouring blocks join.
        """
        if before == after:
            if after != 1.0:
                np.multiply(samples, np.float32(after), out=samples)
            return
        over = min(samples.size, samples.size if over is None else over)
        gains = self.slope(before, after, over)
        np.multiply(samples[:over], gains, out=samples[:over])
        if over < samples.size and after != 1.0:
            np.multiply(samples[over:], np.float32(after), out=samples[over:])

    def slope(self, before: float, after: float, size: int) -> F32:
        """The gains of a ramp, shape (size,), valid until the next call; the last is exactly `after`."""
        if size > self._steps.size:
            self._steps = np.arange(1, size + 1, dtype=np.float32)
            self._gains = np.empty(size, np.float32)
        gains = self._gains[:size]
        np.multiply(self._steps[:size], np.float32((after - before) / max(1, size)), out=gains)
        np.add(gains, np.float32(before), out=gains)
        return gains


class _Tally:
    """What a meter saw since it was last read."""

    __slots__ = ("count", "peak", "square_sum")

    def __init__(self) -> None:
        self.square_sum = 0.0
        self.count = 0
        self.peak = 0.0


class LevelMeter:
    """Loudness since the reading before. Filled by one audio thread, read by one other; no lock.

    The reader puts a fresh tally in the place of the old one. If the audio thread held the old one at that very
    moment, its one block is missing from that reading: 10 ms of a level that is shown to people.
    """

    def __init__(self, size: int = 480) -> None:
        self.clipped = 0
        """Samples at a rail, ever."""
        self._tally = _Tally()
        self._scratch = Scratch(np.float32, size)
        self._last = (FLOOR_DBFS, FLOOR_DBFS)

    def add(self, samples: Samples) -> None:
        """Measure one int16 block. Audio thread."""
        if not samples.size:
            return
        scaled = self._scratch.get(samples.size)
        np.copyto(scaled, samples)
        top = peak(samples)
        if top >= INT16_MAX:
            self.clipped += count_clipped(samples)
        self.add_sums(float(np.dot(scaled, scaled)), samples.size, top)

    def add_sums(self, square_sum: float, count: int, top: float = 0.0) -> None:
        """Count a block that was measured elsewhere: its sum of squares, size and peak. Audio thread."""
        tally = self._tally
        tally.square_sum += square_sum
        tally.count += count
        if top > tally.peak:
            tally.peak = top

    def take(self) -> tuple[float, float]:
        """(RMS, peak) in dBFS since the call before; the same again when nothing came in between."""
        tally, self._tally = self._tally, _Tally()
        if tally.count:
            self._last = (dbfs(math.sqrt(tally.square_sum / tally.count)), dbfs(tally.peak))
        return self._last
