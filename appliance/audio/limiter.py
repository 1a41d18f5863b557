"""`Limiter`: keeps a sum of voices below a ceiling, without delay."""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.audio.pcm import F32, FULL_SCALE, GainRamp, peak

CEILING_DBFS: Final = -1.0  # room for what the DAC's filter overshoots between samples
ATTACK_S: Final = 0.001  # short enough that what the ceiling still cuts is not heard, long enough not to click
RELEASE_S: Final = 0.25  # back up this slowly, or the voices pump
UNHEARD: Final = 0.999  # 0.01 dB: from here the rest of the way is one step


class Limiter:
    """Turns the gain down within a millisecond and up again slowly. One audio thread's.

    It sees a whole block before it lets it out: that is its look-ahead, and why it costs no delay.
    """

    def __init__(self, rate_hz: int, ramp: GainRamp) -> None:
        self.ceiling: Final = float(FULL_SCALE * 10 ** (CEILING_DBFS / 20))
        """Highest scaled sample that leaves."""
        self.gain = 1.0
        """What it turns down to just now; 1.0: nothing."""
        self._attack = round(ATTACK_S * rate_hz)
        self._release = RELEASE_S * rate_hz
        self._ramp = ramp

    def apply(self, samples: F32) -> None:
        """Limit scaled samples in place; none is above the ceiling afterwards."""
        if not samples.size:
            return
        top = peak(samples)
        allowed = min(1.0, self.ceiling / top) if top > 0 else 1.0
        before, self.gain = self.gain, min(allowed, self._recovered(samples.size))
        self._ramp.apply(samples, before, self.gain, self._attack if self.gain < before else None)
        if top * max(before, self.gain) > self.ceiling:
            np.maximum(samples, -self.ceiling, out=samples)
            np.minimum(samples, self.ceiling, out=samples)

    def _recovered(self, size: int) -> float:
        gain = self.gain + (1.0 - self.gain) * min(1.0, size / self._release)
        return 1.0 if gain > UNHEARD else gain
