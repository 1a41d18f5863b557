"""Test sounds, and what can be read from a recording: levels of frequencies, delays, gaps and phase jumps.

Sound here is mono int16 at 48 kHz, shape (n,). Levels are dBFS of a sine: a sine of full int16 amplitude has 0 dBFS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 48_000
FULL_SCALE: Final = 32767.0
SILENCE_DBFS: Final = -120.0
"""What digital silence is reported as."""

VOICES_HZ: Final = (433.0, 1033.0, 1733.0, 2377.0, 2971.0, 3659.0)
"""Tones to tell stations apart by. None has whole periods in 10 ms, so that a lost or doubled frame leaves a phase
jump; none is a harmonic of another; all are within what Opus keeps at any bit rate."""

Pcm = NDArray[np.int16]
Signal = NDArray[np.float64]


# ---- making ----------------------------------------------------------------------------------------------------


def tone(frequency_hz: float, seconds: float = 1.0, level_dbfs: float = -12.0) -> Pcm:
    """A sine that starts at phase 0. It loops without a jump where frequency x seconds is a whole number."""
    n = np.arange(round(seconds * RATE_HZ))
    return _pcm(_amplitude(level_dbfs) * np.sin(2 * np.pi * frequency_hz * n / RATE_HZ))


def chirp(seconds: float = 0.04, low_hz: float = 400.0, high_hz: float = 6000.0, level_dbfs: float = -6.0) -> Pcm:
    """A rising sweep with soft ends: found again to the sample, also behind a speech codec."""
    n = round(seconds * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    phase = 2 * np.pi * (low_hz * t + (high_hz - low_hz) * t * t / (2 * seconds))
    return _pcm(_amplitude(level_dbfs) * np.sin(phase) * np.hanning(n))


def announcement(voice_hz: float, period_s: float = 1.0) -> Pcm:
    """One period of what a measuring station says: a chirp to take the time from, then 0.3 s of its own tone.

    Meant to be looped. The pauses are silent, as between spoken words.
    """
    period = np.zeros(round(period_s * RATE_HZ), np.int16)
    mark = chirp()
    start = round(0.1 * RATE_HZ)
    period[start : start + mark.size] = mark
    voice = tone(voice_hz, 0.3).astype(np.float64) * np.hanning(round(0.3 * RATE_HZ)) ** 0.25
    start = round(0.4 * RATE_HZ)
    period[start : start + voice.size] = _pcm(voice)
    return period


# ---- levels ----------------------------------------------------------------------------------------------------


def level_dbfs(samples: Pcm, frequency_hz: float, rate_hz: int = RATE_HZ) -> float:
    """Level of the sine of that frequency in `samples`, other sounds left out. Takes 0.1 s or more."""
    if samples.size == 0:
        return SILENCE_DBFS
    window = np.blackman(samples.size)
    carrier = np.exp(-2j * np.pi * frequency_hz * np.arange(samples.size) / rate_hz)
    amplitude = 2 * abs(np.dot(samples * window, carrier)) / max(window.sum(), 1e-9)
    return _dbfs(amplitude)


def usual_level_dbfs(samples: Pcm, frequency_hz: float, rate_hz: int = RATE_HZ) -> float:
    """The median level of the tone's tenths of a second. Where `level_dbfs` of the whole reads low because the tone
    jumped in phase or paused (samples were left out or made up on the way), this tells how loud it is."""
    tenth = rate_hz // 10
    pieces = [samples[start : start + tenth] for start in range(0, samples.size - tenth + 1, tenth)]
    return float(np.median([level_dbfs(piece, frequency_hz, rate_hz) for piece in pieces])) if pieces else SILENCE_DBFS


def levels_dbfs(samples: Pcm, frequencies_hz: Sequence[float], rate_hz: int = RATE_HZ) -> dict[float, float]:
    """`level_dbfs` of several frequencies."""
    return {f: level_dbfs(samples, f, rate_hz) for f in frequencies_hz}


def rms_dbfs(samples: Pcm) -> float:
    """Level of everything together; a full-scale sine has 0 dBFS."""
    if samples.size == 0:
        return SILENCE_DBFS
    return _dbfs(float(np.sqrt(2 * np.mean(np.square(samples.astype(np.float64))))))


# ---- delay -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delays:
    """Mouth-to-ear times of the marks of a recording."""

    ms: tuple[float, ...]
    """One for each mark that was heard, in order."""
    lost: int
    """Marks that were said and not heard."""

    def percentile(self, percent: float) -> float:
        """In ms. Fails where nothing was heard."""
        assert self.ms, "no mark was heard"
        return float(np.percentile(self.ms, percent))


def delays(mouth: Pcm, ear: Pcm, mark: Pcm, *, max_s: float = 0.9, min_match: float = 0.5) -> Delays:
    """Find each `mark` of `mouth` again in `ear`, at most `max_s` later. Both are channels of one recording.

    `min_match` is the normalised correlation, 0 to 1, from which on a sound counts as the mark: a codec leaves about
    0.9, other speech stays below 0.3. A mark whose whole window is not on the tape any more is left out.
    """
    found: list[float] = []
    lost = 0
    reach = round(max_s * RATE_HZ)
    for at in find_marks(mouth, mark, min_match=0.8):
        window = ear[at : at + reach + mark.size]
        if window.size < reach + mark.size:
            break
        heard_at = best_match(window, mark, min_match=min_match)
        if heard_at is None:
            lost += 1
        else:
            found.append(heard_at * 1000.0 / RATE_HZ)
    return Delays(tuple(found), lost)


def find_marks(samples: Pcm, mark: Pcm, *, min_match: float = 0.5) -> list[int]:
    """Positions where `mark` starts, at least its own length apart."""
    seen: list[tuple[float, int]] = []
    for start in range(0, max(0, samples.size - mark.size + 1), RATE_HZ):
        match = _match(samples[start : start + RATE_HZ + mark.size - 1], mark)
        while match.size and match.max() >= min_match:
            best = int(match.argmax())
            seen.append((float(match[best]), start + best))
            match[max(0, best - mark.size) : best + mark.size] = 0.0
    # A mark on the seam of two pieces is seen from both: the better look counts.
    found: list[int] = []
    for _, at in sorted(seen, reverse=True):
        if all(abs(at - other) >= mark.size for other in found):
            found.append(at)
    return sorted(found)


def best_match(samples: Pcm, mark: Pcm, *, min_match: float = 0.5) -> int | None:
    """Where in `samples` the mark is seen best; None where it is not there."""
    match = _match(samples, mark)
    best = int(match.argmax()) if match.size else 0
    return best if match.size and match[best] >= min_match else None


def _match(samples: Pcm, mark: Pcm) -> Signal:
    """Normalised correlation at each possible start; shape (len(samples) - len(mark) + 1,)."""
    if samples.size < mark.size:
        return np.zeros(0)
    x, m = samples.astype(np.float64), mark.astype(np.float64)
    size = 1 << int(np.ceil(np.log2(x.size + m.size)))
    product = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(m, size)), size)[: x.size - m.size + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(x))))
    energy = sums[m.size :] - sums[: -m.size]
    # Below -60 dBFS there is nothing to be recognised, only rounding.
    quiet = energy < m.size * (FULL_SCALE * 1e-3) ** 2
    norm = np.sqrt(np.where(quiet, 1.0, energy) * np.square(m).sum())
    return np.where(quiet, 0.0, product / norm)


# ---- gaps and jumps --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Defect:
    """A place where a steady tone is broken."""

    at_s: float
    kind: str
    """`gap`: the tone falls below half its level; `jump`: it goes on at another phase (samples lost or doubled)."""
    length_ms: float
    phase_turns: float
    """How far the phase moved, -0.5 to 0.5 of a period."""


WINDOW: Final = 480  # 10 ms: the sidelobes of its Hann window keep other voices out
HOP: Final = 120  # 2.5 ms: how finely a gap's length is told
JUMP_TURNS: Final = 0.02  # 20 us at 1033 Hz, one sample; drift of 200 ppm moves 0.0005 in a hop


def defects(samples: Pcm, frequency_hz: float, rate_hz: int = RATE_HZ) -> list[Defect]:
    """Gaps and phase jumps of a tone that should be steady. Silence before it starts and after it ends is no gap."""
    level, turns = _follow(samples, frequency_hz, rate_hz)
    if level.size == 0 or level.max() == 0:
        return []
    loud = level > 0.5 * np.median(level[level > 0.1 * level.max()])
    inside = np.flatnonzero(loud)
    first, last = int(inside[0]), int(inside[-1])
    clean = _clean(loud, turns)
    found = []
    for start, stop in _runs(~clean[first : last + 1]):
        found.append(_defect(first + start, first + stop, loud, turns, rate_hz))
    return [defect for defect in found if defect is not None]


def _follow(samples: Pcm, frequency_hz: float, rate_hz: int) -> tuple[Signal, Signal]:
    """Amplitude (of full scale) and phase (turns, against a perfect tone) of each window."""
    window = np.hanning(WINDOW)
    parts: list[NDArray[np.complex128]] = []
    chunk = HOP * 4000  # 10 s at once, to stay small in memory
    for start in range(0, samples.size - WINDOW + 1, chunk):
        piece = samples[start : start + chunk + WINDOW - HOP].astype(np.float64)
        if piece.size < WINDOW:
            break
        n = np.arange(start, start + piece.size)
        base = piece * np.exp(-2j * np.pi * np.remainder(frequency_hz * n / rate_hz, 1.0))
        views = np.lib.stride_tricks.sliding_window_view(base, WINDOW)[::HOP]
        parts.append(np.asarray(views @ window, np.complex128))
    if not parts:
        return np.zeros(0), np.zeros(0)
    line = np.concatenate(parts) * 2 / window.sum() / FULL_SCALE
    return np.abs(line), np.angle(line) / (2 * np.pi)


def _clean(loud: NDArray[np.bool_], turns: Signal) -> NDArray[np.bool_]:
    """Windows that are loud and whose phase follows from the one before."""
    step = np.diff(turns, prepend=turns[:1])
    step -= np.round(step)
    return np.asarray(loud & (np.abs(step) < JUMP_TURNS / 2))


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open index ranges where the mask is true; ranges less than a window apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    runs: list[tuple[int, int]] = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and start - runs[-1][1] < WINDOW // HOP:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


def _defect(start: int, stop: int, loud: NDArray[np.bool_], turns: Signal, rate_hz: int) -> Defect | None:
    before, after = max(0, start - 1), min(turns.size - 1, stop)
    moved = float(turns[after] - turns[before])
    moved -= round(moved)
    quiet = int((~loud[start:stop]).sum())
    if not quiet and abs(moved) < JUMP_TURNS:
        return None
    at_s = (start * HOP + WINDOW / 2) / rate_hz
    # A window is quiet when more than about half of it is: the two ends of a gap cancel out.
    return Defect(at_s, "gap" if quiet else "jump", quiet * HOP * 1000.0 / rate_hz, moved)


# ---- helpers ---------------------------------------------------------------------------------------------------


def _amplitude(level: float) -> float:
    return float(FULL_SCALE * 10 ** (level / 20))


def _dbfs(amplitude: float) -> float:
    return max(SILENCE_DBFS, float(20 * np.log10(max(amplitude, 1e-9) / FULL_SCALE)))


def _pcm(signal: Signal) -> Pcm:
    return np.clip(np.round(signal), -32768, 32767).astype(np.int16)
