"""How much sound a jitter buffer should hold, decided from how much it held. Pure arithmetic, in samples.

What came in and was not needed for two seconds is delay for nothing: take it out. What is nearly used up is a gap to
come: put some in. Both happen when the two clocks differ (100 ppm, usual between a sound card and the SDK's timer, is
10 ms in 100 s), the first also after a burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from appliance.audio.pcm import F32
from appliance.ports import AUDIO_FRAME_MS

WINDOW_S: Final = 2.0  # longer than a hiccup of a busy board, shorter than anyone suffers from the delay
PAUSE_S: Final = 0.1  # between two cuts: a burst of 150 ms is worked off in 1.5 s, and no word loses two pieces
PATIENCE_S: Final = 0.5  # how long to wait for a quiet spot; then the best matching wave will do
SMALLEST_MS: Final = 5.0  # one period of a deep voice (200 Hz) fits; less is not worth a crossfade
LARGEST_MS: Final = 10.0  # more than this is heard as a syllable cut short
SPARE_MS: Final = 5.0  # left above the rest after a cut, so that it is not put back in
SLACK_MS: Final = 14.0  # above the rest before it counts as too much: frames are 10 ms, so 10 more are only phase
DRY_MS: Final = 4.0  # a scheduler's hiccup; less than that left is next to nothing
AGAIN_S: Final = 20.0  # dry twice within this is no accident: collect more
CALM_S: Final = 120.0  # not dry for so long: a little less will do
STEP_MS: Final = 10.0
EXTRA_MS: Final = 60.0  # most that is collected on top; what needs more than that is broken elsewhere


@dataclass(frozen=True, slots=True)
class Levels:
    """What the fill right after a read is compared with, in samples."""

    rest: int
    """What is left after the first read."""
    low: int
    high: int
    goal: int
    smallest: int
    largest: int

    @classmethod
    def of(cls, *, rate_hz: int, playout_ms: float) -> Self:
        """For a buffer that begins to sound at `playout_ms` and is read in 10 ms pieces."""
        rest_ms = playout_ms - AUDIO_FRAME_MS

        def samples(ms: float) -> int:
            return round(ms * rate_hz / 1000)

        return cls(
            rest=samples(rest_ms),
            low=samples(min(DRY_MS, rest_ms / 2)),
            high=samples(rest_ms + SLACK_MS),
            goal=samples(rest_ms + SPARE_MS),
            smallest=samples(SMALLEST_MS),
            largest=samples(LARGEST_MS),
        )

    def judge(self, lowest: int) -> int:
        """Samples to take out (> 0) or put in (< 0) when the fill never was below `lowest`; 0: all is well."""
        if lowest >= self.high:
            return lowest - self.goal
        if lowest < self.low:
            return lowest - self.rest
        return 0


class Pacing:
    """Watches one buffer's fill and says when to jump and how far, and how much to collect before it sounds.

    One audio thread's.
    """

    def __init__(self, *, rate_hz: int, playout_ms: float) -> None:
        self._rate_hz = rate_hz
        self._asked_ms = playout_ms
        self._collect(playout_ms)
        self._since_dry = round(AGAIN_S * rate_hz)
        self.pending = 0
        """Samples still to be taken out (> 0) or put in (< 0)."""
        self._window = round(WINDOW_S * rate_hz)
        self._pause = round(PAUSE_S * rate_hz)
        self._patience = round(PATIENCE_S * rate_hz)
        self._since_jump = self._pause
        self._waited = 0
        self._seen = 0
        self._lowest: int | None = None

    def _collect(self, playout_ms: float) -> None:
        self._playout_ms = playout_ms
        self.playout = round(playout_ms * self._rate_hz / 1000)
        """Samples to collect before it sounds."""
        self.levels = Levels.of(rate_hz=self._rate_hz, playout_ms=playout_ms)

    def ran_dry(self) -> None:
        """Note that there was nothing left to read. Often is answered by collecting more from now on."""
        if self._since_dry < AGAIN_S * self._rate_hz:
            self._collect(min(self._playout_ms + STEP_MS, self._asked_ms + EXTRA_MS))
        self._since_dry = 0
        self.restart()

    def _calm_down(self, read: int) -> None:
        self._since_dry += read
        if self._playout_ms > self._asked_ms and self._since_dry >= CALM_S * self._rate_hz:
            self._since_dry = round(AGAIN_S * self._rate_hz)
            self._collect(max(self._asked_ms, self._playout_ms - STEP_MS))

    def observe(self, fill: int, read: int) -> None:
        """Note the fill after `read` samples were read."""
        self._since_jump += read
        self._calm_down(read)
        if self.pending:
            self._waited += read
            return
        self._seen += read
        self._lowest = fill if self._lowest is None else min(self._lowest, fill)
        if self._seen >= self._window:
            pending = self.levels.judge(self._lowest)
            self.restart()
            self.pending = pending

    def wanted(self) -> int:
        """Longest jump to make now: > 0 forward, < 0 back, 0 none."""
        if abs(self.pending) < self.levels.smallest or not self.rested:
            return 0
        return max(-self.levels.largest, min(self.levels.largest, self.pending))

    @property
    def rested(self) -> bool:
        """Whether the last jump is long enough ago."""
        return self._since_jump >= self._pause

    @property
    def impatient(self) -> bool:
        """Whether no quiet spot has come for too long."""
        return self._waited >= self._patience

    def jumped(self, samples: int) -> None:
        """Note a jump that was made. Who was impatient stays so until the rest is done too."""
        rest, waited = self.pending - samples, self._patience if self.impatient else 0
        self._since_jump = 0
        self.restart()
        if rest * samples > 0 and abs(rest) >= self.levels.smallest:
            self.pending, self._waited = rest, waited

    def restart(self) -> None:
        """Forget what was seen: the buffer ran dry, or somebody else changed its fill."""
        self.pending = 0
        self._waited = 0
        self._seen = 0
        self._lowest = None


def best_match(wave: F32, among: F32) -> int:
    """Where in `among` the wave is most alike: the position with the highest normalised correlation.

    Crossfading two alike waves is not heard. `among` is longer than `wave`; both are scaled float32. Allocates a few
    kB; called once in a hundred seconds or so.
    """
    products = np.correlate(among, wave, "valid")
    sums = np.concatenate(([0.0], np.cumsum(np.square(among, dtype=np.float64))))
    energies = sums[wave.size :] - sums[: -wave.size]
    return int(np.argmax(products / np.sqrt(energies + 1.0)))
