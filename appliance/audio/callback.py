"""What both audio callbacks have in common: they are counted, timed, and never raise."""

from __future__ import annotations

from collections.abc import Callable

from appliance.ports import Block, Clock


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
        self.last_block_at: float | None = None
        """`clock.monotonic()` when the last one began; None: there was none yet."""
        self._clock = clock
        self._longest_s = 0.0

    def run(self, work: Callable[[Block], None], block: Block, xrun: bool) -> bool:
        """Do `work(block)`; False when it failed. Never raises."""
        try:
            began = self._clock.monotonic()
            self.last_block_at = began
            self.blocks += 1
            self.frames += len(block)
            self.xruns += bool(xrun)
            work(block)
            self._longest_s = max(self._longest_s, self._clock.monotonic() - began)
        except Exception:  # an audio thread must not die of it, and cannot log it
            self.errors += 1
            return False
        return True

    def take_longest_ms(self) -> float:
        """The longest callback since the call before, in ms. Reset by its one reader; a callback that ends in that
        very moment may be missing."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return round(longest_s * 1000, 3)
