"""`Hurry`: a speaker that asks for more sound than it needs, seen. Pure arithmetic.

A device's buffer has room for more than usually waits in it, and after a stall some sound servers (PulseAudio) ask
until it is full: each later sound waits a block longer, for ever, 10 to 27 ms in measured calls. Whoever answers such a
call when the device holds what it held before the stall gives the same sound at the same time, and that delay is gone.
"""

from __future__ import annotations

import math
from typing import Final

EARLY: Final = 0.5  # of a block after the answer before: no clock jitters so far
LATE: Final = 1.5  # … of blocks: a stall, after which the device may ask too often
ABOVE: Final = 0.5  # of a block more than usual: time stamps jitter less
AFTER_BLOCKS: Final = 50  # that long after a stall, or the last wait, that is taken for the cause of what is above
WINDOW_BLOCKS: Final = 100  # what a device usually holds is the median of this many calls: hiccups do not move it


class Hurry:
    """One audio thread's."""

    def __init__(self) -> None:
        self.calls = 0
        """That were to wait."""
        self._held_s = [0.0] * WINDOW_BLOCKS
        self.opened(0.0)

    def opened(self, block_s: float) -> None:
        """The device was opened anew, with blocks of that length. Before its first call."""
        self._block_s = block_s
        self._answered_s = -math.inf
        self._usual_s = math.inf
        self._noted = 0
        self._after = 0

    def wait_s(self, now_s: float, held_s: float) -> float:
        """How long to wait before a block is given to a device that asks for it now and holds that much sound: until
        it holds what it usually does, a block's length at most. 0.0 unless it asks at once again, or after a stall."""
        gap_s = now_s - self._answered_s
        early = gap_s < EARLY * self._block_s
        if gap_s > LATE * self._block_s:
            self._watch()
        above_s = held_s - self._usual_s
        wait_s = 0.0
        if above_s > ABOVE * self._block_s and (early or self._after):
            wait_s = min(above_s, self._block_s - gap_s if early else self._block_s)
            self._watch()  # it may stop asking early for a while, and holds as much as before
            self.calls += 1
        if held_s > 0.0:
            self._note(held_s - wait_s)
        self._after = max(0, self._after - 1)
        self._answered_s = now_s + wait_s
        return wait_s

    def _watch(self) -> None:
        if not self._after:
            self._noted = 0
        self._after = AFTER_BLOCKS

    def _note(self, held_s: float) -> None:
        """What it holds when it is given a block. Once we wait until it holds as much as is usual, that says nothing of
        what is usual any more; unless all of it is more, for a reason of the device's."""
        self._held_s[self._noted] = held_s
        self._noted += 1
        if self._noted == WINDOW_BLOCKS:
            self._noted = 0
            if not self._after:
                self._usual_s = sorted(self._held_s)[WINDOW_BLOCKS // 2]
            elif min(self._held_s) > self._usual_s + ABOVE * self._block_s:
                self._usual_s = min(self._held_s)
