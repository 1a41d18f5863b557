"""`FrameRing`: the one object that two threads touch.

One writer, one reader, no lock. The writer only ever overwrites and moves its own position; the reader alone enforces
the bound. So a reader that is stuck costs the writer nothing, and neither can hold the other up: under the GIL a
thread that holds a lock may be put aside for 5 ms and more, which on an audio thread is a click.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from appliance.audio.pcm import F32
from appliance.ports import Samples

_SLACK: Final = 2  # capacity over bound: a whole further bound may be written while the reader copies the oldest
_ATTEMPTS: Final = 3  # a copy is torn only if the writer laps the reader while it copies; three in a row: give up


class FrameRing:
    """Mono int16 samples in preallocated memory, at most `bound` of them waiting; beyond that the oldest go.

    `write` is the writer's. `take`, `read`, `peek`, `skip`, `clear` and `set_wakeup` are the reader's. The properties
    may be read by anyone. Implements `ports.FrameSource`.
    """

    def __init__(self, bound: int) -> None:
        if bound < 1:
            raise ValueError(f"bound {bound}: at least one sample")
        self.bound: Final = bound
        """Most samples that wait. A reader further behind loses the oldest and sees them in `dropped`."""
        self.dropped = 0
        """Samples lost to the bound; counted by the reader when it reads on."""
        self._capacity: Final = bound * _SLACK
        self._buffer = np.zeros(self._capacity, np.int16)
        # Samples since the beginning; plain ints, each moved by one side only.
        self._reserved = 0  # the writer's: up to here memory may be half overwritten right now
        self._written = 0  # the writer's: up to here sound is complete
        self._read = 0  # the reader's
        self._wakeup: Callable[[], None] | None = None

    # ---- anyone

    @property
    def written(self) -> int:
        """Samples ever written."""
        return self._written

    @property
    def position(self) -> int:
        """Where the reader is, counted like `written`."""
        return self._read

    @property
    def behind(self) -> int:
        """Samples between reader and writer, those beyond the bound included."""
        return max(0, self._written - self._read)

    @property
    def fill(self) -> int:
        """Samples that can be read, at most `bound`."""
        return min(self.behind, self.bound)

    # ---- the writer

    def write(self, samples: Samples) -> None:
        """Append, shape (n,). Never waits, never fails for want of room; wakes the reader if it asked for that."""
        size = samples.size
        kept = samples[-self.bound :] if size > self.bound else samples
        self._reserved = self._written + size
        self._store(self._reserved - kept.size, kept)
        self._written = self._reserved
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup()

    def _store(self, position: int, samples: Samples) -> None:
        begin = position % self._capacity
        first = min(samples.size, self._capacity - begin)
        self._buffer[begin : begin + first] = samples[:first]
        if first < samples.size:  # once a round: a copy of nothing would cost as much as one of a block
            self._buffer[: samples.size - first] = samples[first:]

    # ---- the reader

    def set_wakeup(self, wakeup: Callable[[], None] | None) -> None:
        """Have `wakeup` called, on the writer's thread, after each write; None: no more.

        A new listener starts with what comes from now on: what waited for nobody is forgotten, not counted.
        """
        if wakeup is not None:
            self.clear()
        self._wakeup = wakeup

    def take(self, out: Samples | F32) -> bool:
        """Copy the oldest `out.size` samples into `out` (float32: scaled); False, and nothing taken, when there are
        fewer."""
        for _ in range(_ATTEMPTS):
            self._catch_up()
            if self._written - self._read < out.size:
                return False
            if self._copy(self._read, out):
                self._read += out.size
                return True
        return False

    def read(self, out: Samples) -> int:
        """Copy as much as there is, up to `out.size`, to the front of `out`. Returns how many samples that were."""
        size = min(self.fill, out.size)
        return size if size and self.take(out[:size]) else 0

    def peek(self, out: Samples | F32, offset: int = 0) -> bool:
        """Copy from `offset` samples after the reading position without taking; False when they are not there.

        A negative offset looks at what was read before, for as long as it is not overwritten.
        """
        start = self._read + offset
        return start >= 0 and start + out.size <= self._written and self._copy(start, out)

    def skip(self, count: int) -> None:
        """Move on without copying, at most to the newest; a negative count goes back. Not counted as dropped."""
        self._read = min(max(0, self._read + count), self._written)

    def clear(self) -> None:
        """Forget all that waits. Not counted as dropped."""
        self._read = self._written

    def _catch_up(self) -> None:
        over = self._written - self._read - self.bound
        if over > 0:
            self.dropped += over
            self._read += over

    def _copy(self, start: int, out: Samples | F32) -> bool:
        """Copy and say whether the writer left that memory alone meanwhile."""
        begin = start % self._capacity
        first = min(out.size, self._capacity - begin)
        out[:first] = self._buffer[begin : begin + first]
        if first < out.size:
            out[first:] = self._buffer[: out.size - first]
        return self._reserved - start <= self._capacity
