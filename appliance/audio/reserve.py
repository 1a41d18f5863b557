"""`Reserve`: how many times as much sound as usual a device is asked to hold, because it ran dry again and again. Pure
arithmetic.

How short a buffer can be is the hardware's own business: a driver that tells its place each 10 ms only, or a bus that
others use too, runs dry with one that is ample elsewhere, and clicks for ever. Nobody sits there to set another.
"""

from __future__ import annotations

from collections import deque
from typing import Final

AGAIN: Final = 4  # seconds with an accident: one is a machine that stood still, two or three one that was busy
WITHIN_S: Final = 20.0  # of each other; what happens less often costs less than the delay
ACCIDENT_S: Final = 1.0  # what happens within that is one
TIMES_MAX: Final = 4  # 60 ms for the speaker, 80 for the microphone; what needs more than that is broken elsewhere


class Reserve:
    """One leg's; it outlives a session. Loop thread only."""

    def __init__(self) -> None:
        self.times = 1
        """Of the usual buffer."""
        self._counted = 0
        self._accidents_s: deque[float] = deque(maxlen=AGAIN)

    def opened(self, counted: int) -> None:
        """The device was opened anew; so many accidents were counted before."""
        self._counted = counted
        self._accidents_s.clear()

    def begin_anew(self) -> None:
        """Another device is meant from now on, or the same with other settings."""
        self.times = 1

    def look(self, counted: int, now_s: float) -> bool:
        """Take up how many accidents were counted by now; whether `times` has grown by it."""
        happened, self._counted = counted > self._counted, counted
        accidents_s = self._accidents_s
        if not happened or (accidents_s and now_s - accidents_s[-1] < ACCIDENT_S):
            return False
        accidents_s.append(now_s)
        if len(accidents_s) < AGAIN or now_s - accidents_s[0] > WITHIN_S or self.times >= TIMES_MAX:
            return False
        accidents_s.clear()
        self.times *= 2
        return True
