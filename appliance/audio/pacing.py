"""How long a voice's sound should wait before it is played, and when to jump there. Pure arithmetic.

Clocks that differ are the rate control's business (`drift.py`). Here it is about what comes at once: a burst after a
stall is delay for nothing and is cut out; frames that come late again and again need a longer wait.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from appliance.audio.pcm import F32
from appliance.ports import AUDIO_FRAME_MS

SETTLE_S: Final = 1.0  # of sound until the first look: by then one frame was punctual
RESETTLE_S: Final = 2.0  # after a gap: what was punctual before it is forgotten by then (two windows of the envelope)
PAUSE_S: Final = 0.1  # between two cuts: a burst of 150 ms is worked off in 1.5 s, and no word loses two pieces
PATIENCE_S: Final = 0.5  # how long to wait for a quiet spot; then the best matching wave will do
LITTLE_PATIENCE: Final = 10  # times as long, where it is only a little: in 5 s people make a pause
SMALLEST_MS: Final = 5.0  # one period of a deep voice (200 Hz) fits; less is not worth a crossfade
LARGEST_MS: Final = 10.0  # more than this is heard as a syllable cut short
SLACK_MS: Final = 5.5  # what is less than this off target is left to the rate control
LITTLE_MS: Final = 10.0  # what is less than this off target is a little
BRIDGE_MS: Final = 50.0  # played again in a row, before it gives up: frames were seen to be 34–46 ms late at most
BRIDGE_AT_ONCE: Final = 1.1  # of the longest jump: 10 ms, and what the rate control takes on top
FLOWS_S: Final = 1.0  # who has sounded for so long is late; whose sound ends before may have no more to say
AGAIN_S: Final = 60.0  # late twice within this is no accident: wait longer
CALM_S: Final = 300.0  # nothing so late for so long: a little less will do
CALM_MAX_S: Final = 3600.0  # twice as long after each time that less did not do: what it takes to learn that is heard
STEP_MS: Final = 10.0  # less at a time; what is then missed for once can be bridged
SINK: Final = 200e-6  # seconds in a second, so that the rate control can follow and nothing has to be cut
EXTRA_MS: Final = 60.0  # most that is waited on top; what needs more than that is broken elsewhere


class Pacing:
    """Compares how long sound waits with how long it should, and says when to jump and how far.

    "Waits" is meant from when a frame is due to when the block is due that takes its last sample. One audio thread's.
    """

    def __init__(self, *, rate_hz: int, playout_ms: float) -> None:
        self.pending = 0
        """Samples to be taken out (> 0) or put in (< 0) by jumps."""
        self.excess_s: float | None = None
        """By how much too long sound waits; None: not known yet."""
        self.smallest: Final = round(SMALLEST_MS * rate_hz / 1000)
        """Shortest jump, in samples."""
        self.largest: Final = round(LARGEST_MS * rate_hz / 1000)
        """Longest jump, in samples."""
        self._rate_hz = rate_hz
        self._playout_s = playout_ms / 1000
        self._extra_s = 0.0
        self._goal_s = 0.0  # where the extra sinks to
        self._proven_s = 0.0  # where it sank from, to see whether less will do
        self._late_before_s = 0.0
        self._since_late = AGAIN_S
        self._since_needed = 0.0
        self._calm_s = CALM_S
        self._tries_less = False
        self._unsettled = round(SETTLE_S * rate_hz)
        self._pause = round(PAUSE_S * rate_hz)
        self._since_jump = self._pause
        self._waited = 0
        self._bridged = 0
        self._flowed = 0

    @property
    def playout(self) -> int:
        """Samples to collect before it sounds."""
        return round((self._playout_s + self._extra_s) * self._rate_hz)

    @property
    def target_s(self) -> float:
        """How long sound should wait: what is collected, less the frame that is then played, and that came half a
        frame ago on average."""
        return self._playout_s + self._extra_s - AUDIO_FRAME_MS / 2000

    # ---- how late frames are

    def look(self, late_s: float, window_s: float) -> None:
        """Take up how late the latest frame of a window of that length was."""
        needed_s = late_s + AUDIO_FRAME_MS / 1000 - self.target_s
        self._since_late += window_s
        self._since_needed += window_s
        if 0 < needed_s <= EXTRA_MS / 1000 - self._extra_s:
            self._late(late_s)
        elif needed_s > self._less_s - self._extra_s:
            self._since_needed = 0.0
        self._sink(window_s)

    @property
    def _less_s(self) -> float:
        """The next extra to sink to."""
        return max(0.0, self._goal_s - STEP_MS / 1000)

    def _late(self, late_s: float) -> None:
        """Once is an accident; what came twice in a short time is what to wait for, and so is what shows that a little
        less will not do."""
        self._since_needed = 0.0
        if self._proven_s:
            self._wait_for(min(late_s, self._proven_s - self._beyond_s))
        if self._tries_less:
            self._tries_less = False
            self._calm_s = min(CALM_MAX_S, 2 * self._calm_s)
        if self._since_late < RESETTLE_S:  # the same accident, seen in two windows
            self._late_before_s = max(late_s, self._late_before_s)
            return
        if self._since_late <= AGAIN_S:
            self._wait_for(min(late_s, self._late_before_s))
        self._late_before_s = late_s
        self._since_late = 0.0

    def _wait_for(self, late_s: float) -> None:
        extra_s = late_s + self._beyond_s
        if extra_s > self._extra_s:
            self._extra_s = self._goal_s = extra_s

    @property
    def _beyond_s(self) -> float:
        """What is to be waited on top for a frame that is not late: the frame that is played, and half of one."""
        return AUDIO_FRAME_MS / 1000 * 1.5 - self._playout_s

    def _sink(self, window_s: float) -> None:
        if self._since_needed >= self._calm_s:
            self._since_needed = 0.0
            if self._tries_less:  # and it did
                self._calm_s = CALM_S
            self._tries_less = self._goal_s > 0
            self._proven_s, self._goal_s = self._goal_s, self._less_s
        self._extra_s = max(self._goal_s, self._extra_s - SINK * window_s)

    # ---- how long sound waits

    def observe(self, wait_s: float, read: int) -> None:
        """Note how long sound waits now that `read` more samples were read."""
        self._since_jump += read
        self._flowed += read
        self._bridged = max(0, self._bridged - read // 4)
        self._unsettled = max(0, self._unsettled - read)
        if self._unsettled:
            return
        self.excess_s = wait_s - self.target_s
        excess_ms = abs(self.excess_s) * 1000
        self.pending = round(self.excess_s * self._rate_hz) if excess_ms >= SLACK_MS else 0
        if not self.pending:
            self._waited = 0
        elif excess_ms >= LITTLE_MS or self.impatient:
            self._waited += read
        else:
            self._waited += read // LITTLE_PATIENCE

    def wanted(self) -> int:
        """Longest jump to make now: > 0 forward, < 0 back, 0 none."""
        if not self.pending or self._since_jump < self._pause:
            return 0
        return max(-self.largest, min(self.largest, self.pending))

    @property
    def impatient(self) -> bool:
        """Whether no quiet spot has come for too long."""
        return self._waited >= PATIENCE_S * self._rate_hz

    def jumped(self, samples: int) -> None:
        """Note a jump that was made. Who was impatient stays so until the rest is done too."""
        self._waited = self._waited if self.impatient else 0
        self._since_jump = 0
        self.pending = 0

    # ---- when there is nothing left

    def bridge(self, missing: int, there: int) -> tuple[int, int] | None:
        """Shortest and longest that may be played again where only `there` samples of a block are left and `missing`
        are not; None: let it run dry. What has only begun to sound and is all gone was all that there is."""
        flows = self._flowed >= FLOWS_S * self._rate_hz
        if missing > BRIDGE_AT_ONCE * self.largest or (self._bridged and not flows) or not (there or flows):
            return None
        if self._bridged >= BRIDGE_MS * self._rate_hz / 1000:
            return None
        shortest = max(self.smallest, missing)
        return shortest, max(self.largest, shortest + self.smallest)

    @property
    def bridging(self) -> bool:
        """Whether some was played again a moment ago."""
        return self._bridged > 0

    def bridged(self, samples: int) -> None:
        """Note that so much was played again."""
        self._bridged += samples
        self._unsettled = max(self._unsettled, round(SETTLE_S * self._rate_hz))
        self.jumped(-samples)

    def restart(self, *, after_gap: bool) -> None:
        """Forget how long sound waited: the buffer ran dry, or nobody has read for a while."""
        self.pending = self._waited = self._bridged = self._flowed = 0
        self.excess_s = None
        self._unsettled = round((RESETTLE_S if after_gap else SETTLE_S) * self._rate_hz)


def best_match(wave: F32, among: F32) -> int:
    """Where in `among` the wave is most alike: the position with the highest normalised correlation.

    Crossfading two alike waves is not heard. `among` is longer than `wave`; both are scaled float32. Allocates a few
    kB; called when a jump is made that no pause hides, which is rare.
    """
    products = np.correlate(among, wave, "valid")
    sums = np.concatenate(([0.0], np.cumsum(np.square(among, dtype=np.float64))))
    energies = sums[wave.size :] - sums[: -wave.size]
    return int(np.argmax(products / np.sqrt(energies + 1.0)))
