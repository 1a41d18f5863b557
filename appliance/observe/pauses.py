"""How long garbage collections stop every thread that runs Python, the audio threads among them."""

from __future__ import annotations

import gc
import time
from typing import Final

STALL_S: Final = 0.005  # half of a block of 10 ms


class GcPauses:
    """Counts while it is told of collections. The interpreter calls it on whichever thread collects; any may ask."""

    def __init__(self) -> None:
        self.stalls = 0
        """Collections of `STALL_S` or more."""
        self._longest_s = 0.0
        self._began_s = 0.0

    def start(self) -> None:
        """Be told from now on. Idempotent."""
        if self not in gc.callbacks:
            gc.callbacks.append(self)

    def stop(self) -> None:
        """No more of that. Idempotent."""
        if self in gc.callbacks:
            gc.callbacks.remove(self)

    def __call__(self, phase: str, _info: dict[str, int]) -> None:
        """A collection begins or ends: under a microsecond."""
        now_s = time.perf_counter()
        if phase == "start":
            self._began_s = now_s
        else:
            self.note(now_s - self._began_s)

    def note(self, took_s: float) -> None:
        """One took that long."""
        self._longest_s = max(self._longest_s, took_s)
        self.stalls += took_s >= STALL_S

    def take_longest_s(self) -> float:
        """The longest since the call before: one caller's."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return longest_s

    @property
    def longest_s(self) -> float:
        """The longest since `take_longest_s`."""
        return self._longest_s
