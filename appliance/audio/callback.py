"""What both audio callbacks have in common: they are counted, timed, and never raise."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from appliance.ports import Block, Clock

WINDOW_BLOCKS: Final = 6000  # half a minute of 5 ms, a minute of 10: long enough for one in a hundred to mean something
SHORTEST_S: Final = 1e-5  # bins from here, eight an octave, so that a figure is right within 5 %
LATE_BLOCKS: Final = 0.5  # more than the device holds: it asks when a whole block fits, in steps of its own
BINS: Final = 128  # up to 0.6 s


class Durations:
    """How long something takes, as shares of the last 6,000 to 12,000. One thread adds, any may ask."""

    def __init__(self) -> None:
        self._now = [0] * BINS
        self._before = [0] * BINS
        self._left = WINDOW_BLOCKS

    def add(self, seconds: float) -> None:
        """Count one."""
        octaves = math.log2(max(seconds, SHORTEST_S) / SHORTEST_S)
        self._now[min(BINS - 1, int(8 * octaves))] += 1
        self._left -= 1
        if not self._left:
            self._left = WINDOW_BLOCKS
            self._now, self._before = self._before, self._now
            for index in range(BINS):
                self._now[index] = 0

    def quantile_s(self, share: float) -> float:
        """What so many of them took at most; 0.0 when there were none."""
        sums = list(accumulate(map(int.__add__, self._now, self._before)))
        if not sums[-1]:
            return 0.0
        index = next(index for index, count in enumerate(sums) if count >= share * sums[-1])
        return SHORTEST_S * math.pow(2.0, (index + 0.5) / 8)


class CallbackMeter:
    """Counters of one leg, written on the audio thread and read by anyone. They go on counting over reopenings."""

    def __init__(self, clock: Clock) -> None:
        self.blocks = 0
        """Callbacks."""
        self.frames = 0
        """Frames of the device, at its rate."""
        self.xruns = 0
        """Callbacks before which the device said that it had lost sound (capture) or had none (playback)."""
        self.errors = 0
        """Callbacks that failed inside; their sound is silence."""
        self.late = 0
        """Callbacks that came so long after the one before that all that the device held was over by then."""
        self.last_block_at: float | None = None
        """`clock.monotonic()` when the last one began; None: there was none yet."""
        self._clock = clock
        self._before_s: float | None = None
        self._late_s = math.inf
        self._durations = Durations()
        self._longest_s = 0.0
        self._longest_gap_s = 0.0

    def run(self, work: Callable[[Block], None], block: Block, xrun: bool) -> bool:
        """Do `work(block)`; False when it failed. Never raises."""
        try:
            began = self._clock.monotonic()
            gap_s = began - (self._before_s or began)
            self._longest_gap_s = max(self._longest_gap_s, gap_s)
            self.late += gap_s > self._late_s
            self.last_block_at = self._before_s = began
            self.blocks += 1
            self.frames += len(block)
            self.xruns += bool(xrun)
            work(block)
            took_s = self._clock.monotonic() - began
            self._durations.add(took_s)
            self._longest_s = max(self._longest_s, took_s)
        except Exception:  # an audio thread must not die of it, and cannot log it
            self.errors += 1
            return False
        return True

    def opened(self, block_s: float, latency_s: float) -> None:
        """The device was opened anew, with blocks of that length and asked to hold so much: the time without it was no
        gap between two calls."""
        self._before_s = None
        self._late_s = latency_s + LATE_BLOCKS * block_s

    def take_figures(self) -> dict[str, object]:
        """How long the callbacks take, in ms: half of them, all but one in a hundred (both of the last 6,000 to
        12,000), the longest since the call before, and the longest time from one to the next since then; and how many
        ever came late. What is "since" is reset by its one reader; a callback that ends in that very moment may be
        missing."""
        longest_s, self._longest_s = self._longest_s, 0.0
        gap_s, self._longest_gap_s = self._longest_gap_s, 0.0
        return {
            "callback_ms_p50": round(self._durations.quantile_s(0.5) * 1000, 3),
            "callback_ms_p99": round(self._durations.quantile_s(0.99) * 1000, 3),
            "callback_ms_max": round(longest_s * 1000, 3),
            "callback_gap_ms_max": round(gap_s * 1000, 1),
            "late_calls": self.late,
        }
