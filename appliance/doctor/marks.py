"""A sound that is found again: what `alto doctor --latency` plays, and how it is recognised in what comes back. Pure.

Each mark is a rising sweep with soft ends. A matched filter packs all of it into a fifth of a millisecond, so that it
stands out of noise 27 dB louder than its own level would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.audio.pcm import F32, FULL_SCALE, count_clipped, dbfs, peak_dbfs, rms_dbfs, store_int16
from appliance.ports import Samples

MARK_S: Final = 0.1
LOW_HZ: Final = 500.0  # below, small speakers are dumb
HIGH_HZ: Final = 7000.0  # above, a station at 16 kHz ends
LEAD_S: Final = 1.0  # of silence first: devices start, and the room's noise is measured
PERIOD_S: Final = 0.6
REACH_S: Final = 0.45  # how late a mark is looked for; Bluetooth takes 0.3 s
MARKS: Final = 8
STANDS_OUT: Final = 8.0  # times what the filter gives for other sound: noise reaches 4 to 5 in so long a look
FIRST_SHARE: Final = 0.5  # of the strongest arrival: what comes before it as strong as that is the straight way
PEAK_S: Final = 0.0005  # an arrival's waves are that near to each other
TOGETHER_S: Final = 0.02  # marks that are farther from the others' median are something else

Signal = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mark that came back."""

    at: int
    """Where in the window it begins, in samples."""
    gain: float
    """Its amplitude by that which was played; negative: upside down."""


@dataclass(frozen=True, slots=True)
class Loop:
    """What came back of all marks."""

    delays_ms: tuple[float, ...]
    gain: float
    """Median amplitude by that which was played; negative: upside down. 0.0: nothing came back."""
    noise_dbfs: float
    """RMS of what the microphone heard before the first mark."""
    peak_dbfs: float
    clipped: int
    """Samples at a rail."""

    @property
    def median_ms(self) -> float:
        return float(np.median(self.delays_ms))

    @property
    def spread_ms(self) -> float:
        """From the shortest to the longest."""
        return float(np.ptp(self.delays_ms))

    @property
    def heard(self) -> bool:
        """Whether half of the marks came back, all after the same time."""
        return 2 * len(self.delays_ms) >= MARKS


def mark(rate_hz: int) -> Signal:
    """One mark, amplitude 1.0, shape (n,)."""
    t = np.arange(round(MARK_S * rate_hz)) / rate_hz
    phase = 2 * np.pi * (LOW_HZ * t + (HIGH_HZ - LOW_HZ) * t * t / (2 * MARK_S))
    return np.asarray(np.sin(phase) * np.hanning(t.size), np.float64)


def positions(rate_hz: int) -> list[int]:
    """Where in `sound` the marks begin, in samples."""
    return [round((LEAD_S + number * PERIOD_S) * rate_hz) for number in range(MARKS)]


def sound(rate_hz: int, level_dbfs: float) -> Samples:
    """All that is played, int16, shape (n,); `level_dbfs`: the marks' highest sample."""
    one = mark(rate_hz) * FULL_SCALE * 10 ** (level_dbfs / 20)
    whole: F32 = np.zeros(positions(rate_hz)[-1] + round(PERIOD_S * rate_hz), np.float32)
    for at in positions(rate_hz):
        whole[at : at + one.size] = one
    return store_int16(whole, np.empty(whole.size, np.int16))


def find(window: Samples, rate_hz: int, level_dbfs: float) -> Arrival | None:
    """The first arrival of a mark in `window`; None when nothing in it stands out."""
    one = mark(rate_hz)
    if window.size < one.size:
        return None
    match = _matched(window.astype(np.float64), one)
    size = np.abs(match)
    usual = float(np.median(size)) / 0.6745  # the standard deviation of noise, whatever stands out of it
    if size.max() < STANDS_OUT * max(usual, 1.0):
        return None
    first = int(np.flatnonzero(size >= FIRST_SHARE * size.max())[0])
    at = first + int(size[first : first + max(1, round(PEAK_S * rate_hz))].argmax())
    played = FULL_SCALE * 10 ** (level_dbfs / 20) * float(one @ one)
    return Arrival(at, float(match[at]) / played)


def _matched(window: Signal, one: Signal) -> Signal:
    """Correlation at each start at which the whole mark is in the window."""
    size = 1 << int(window.size + one.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(one, size)), size)
    return np.asarray(product[: window.size - one.size + 1], np.float64)


def judge(delays_ms: list[float], gains: list[float], before: Samples, everything: Samples) -> Loop:
    """`Loop` of the arrivals that agree; `before`: what was heard before the first mark."""
    pairs = list(zip(delays_ms, gains, strict=True))
    if pairs:
        middle = float(np.median(delays_ms))
        pairs = [pair for pair in pairs if abs(pair[0] - middle) <= 1000 * TOGETHER_S]
    return Loop(
        delays_ms=tuple(delay for delay, _ in pairs),
        gain=float(np.median([gain for _, gain in pairs])) if pairs else 0.0,
        noise_dbfs=rms_dbfs(before),
        peak_dbfs=peak_dbfs(everything),
        clipped=count_clipped(everything),
    )


def level_at_microphone_dbfs(loop: Loop, level_dbfs: float) -> float:
    """The marks' highest sample as the microphone hears it."""
    return dbfs(abs(loop.gain) * FULL_SCALE * 10 ** (level_dbfs / 20))
