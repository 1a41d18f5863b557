"""What a recording of a call tells: when each mark was heard, how loud the voice is, and where it broke. Pure.

Each measured participant says a steady tone without an end, and a mark above it every two seconds. The mark tells the
delay, the tone the gaps and jumps; both stay apart from each other and from the others' tones by their frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.harness.signals import RATE_HZ, Pcm, best_match, chirp, defects, find_marks, tone, usual_level_dbfs

PERIOD_S: Final = 2.0
REACH_S: Final = 1.8  # how late a mark may come; slow clients are half a second late and get later
TONE_DBFS: Final = -18.0
MARK_DBFS: Final = -9.0
MARK_HZ: Final = (3000.0, 8000.0)
HIGH_HZ: Final = 2700.0
"""Marks are above, everybody's tones below."""
BLOCK_S: Final = 10.0
GAP_MS: Final = 5.0  # the ear hears shorter ones as a click; they count as jumps
SOUND: Final = 100
"""Samples above this (of 32767, -50 dBFS) are sound: nothing but silence was there before."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A place where the tone that was heard is not the tone that was said."""

    at_s: float
    ms: float
    """How long it was quiet; 0: it only went on at another phase."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One way of a call, times in seconds since the recording began."""

    marks: tuple[tuple[float, float], ...]
    """(when it was said, how many ms later it was heard)."""
    lost: int
    broken: tuple[Broken, ...]
    level_dbfs: float
    """Of the tone as it is heard."""
    harness_broken: int
    """Places where the tone is broken already as it was said: then the machine was too busy to measure anything."""

    @property
    def gaps(self) -> list[Broken]:
        """Silences that are long enough to be missed."""
        return [one for one in self.broken if one.ms > GAP_MS]


def utterance(voice_hz: float) -> Pcm:
    """One period of what a measured participant says; loops without a jump for whole frequencies."""
    voice = tone(voice_hz, PERIOD_S, TONE_DBFS)
    mark = the_mark()
    start = RATE_HZ // 10
    voice[start : start + mark.size] += mark
    return voice


def the_mark() -> Pcm:
    """What the delay is taken from."""
    return chirp(0.04, *MARK_HZ, level_dbfs=MARK_DBFS)


def listen(mouth: Pcm, ear: Pcm, voice_hz: float, seconds: float) -> Heard:
    """Judge the first `seconds` of a recording. Both are mono int16 at 48 kHz and of one length, `REACH_S` longer."""
    marks, lost = find_delays(mouth, ear, seconds)
    whole = round(seconds * RATE_HZ)
    broken = tuple(Broken(one.at_s, one.length_ms) for one in defects(ear[:whole], voice_hz))
    harness_broken = len(defects(mouth[:whole], voice_hz))
    return Heard(tuple(marks), lost, broken, usual_level_dbfs(ear[:whole], voice_hz), harness_broken)


def find_delays(mouth: Pcm, ear: Pcm, seconds: float) -> tuple[list[tuple[float, float]], int]:
    """The marks that were said in the first `seconds`: those heard, as in `Heard.marks`, and how many were not."""
    mark = the_mark()
    reach = round(REACH_S * RATE_HZ) + mark.size
    said: list[int] = []
    marks: list[tuple[float, float]] = []
    step = round(BLOCK_S * RATE_HZ)
    for start in range(0, round(seconds * RATE_HZ), step):
        stop = min(start + step, round(seconds * RATE_HZ))
        high = above(mouth[start : stop + mark.size], HIGH_HZ)
        for at in (start + found for found in find_marks(high, mark, min_match=0.8)):
            # A mark on the seam of two blocks is seen from both.
            if at >= stop or (said and at - said[-1] < mark.size):
                continue
            said.append(at)
            later = best_match(above(ear[at : at + reach], HIGH_HZ), mark)
            if later is not None:
                marks.append((at / RATE_HZ, later * 1000.0 / RATE_HZ))
    return marks, len(said) - len(marks)


def above(samples: Pcm, hz: float) -> Pcm:
    """What is higher than `hz`."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    spectrum[: round(hz * samples.size / RATE_HZ)] = 0.0
    return np.clip(np.round(np.fft.irfft(spectrum, samples.size)), -32768, 32767).astype(np.int16)


def first_sound(ear: Pcm) -> int | None:
    """The first sample that is not silence."""
    loud = np.flatnonzero(np.abs(ear.astype(np.int32)) > SOUND)
    return int(loud[0]) if loud.size else None
