"""`Reference`: what the speaker plays, as an echo canceller needs it: in step with what the microphone heard meanwhile.

The speaker's clock and the microphone's differ, by parts in a million or by what two cheap crystals are off. Here the
played sound is read at the microphone's pace, so that an echo comes after a time that stays: a canceller that has
learned a room must not learn it anew all the time (echo 42 dB softer at 200 ppm; without this 26).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from appliance.audio.convert import resampler
from appliance.audio.drift import Envelope
from appliance.audio.pcm import F32, Scratch, store_int16
from appliance.audio.ring import FrameRing
from appliance.audio.varispeed import Varispeed
from appliance.ports import AUDIO_FRAME_MS, Samples

KEPT_S: Final = 1.0  # more than the longest buffers of both devices together
LEAD_S: Final = 0.03  # before its echo, so that time stamps which are off do not reverse them
LEAD_STEP_S: Final = 0.005  # what it is shortened by when the speaker's buffer turns out to hold less
LEAD_MIN_S: Final = -0.01  # the air, and converters that no time stamp knows of, take as much
LEAD_KEPT_S: Final = 600.0  # how long it stays shortened: a board that was busy for a while is not always
SETTLE_FRAMES: Final = 100  # while nothing is learned yet, the lead may change as it likes
MISSES: Final = 10  # frames: so many in a short time are no hiccup
FORGIVEN: Final = 0.001  # of a miss, by each frame: one in ten seconds
JUMP_S: Final = 0.004  # twice what a glide needs for 300 ppm; beyond, something was interrupted
GAIN: Final = 0.3  # 1/s: 200 ppm are found out in five seconds (ERLE then 42 dB; with 0.1 it is 30), and …
INTEGRAL_GAIN: Final = GAIN * GAIN / 4  # … 1/s²: without overshoot, as in `drift.RateControl`
PULL_MAX: Final = 0.01  # what is further off is no clock
FRAME_S: Final = AUDIO_FRAME_MS / 1000
SPARE: Final = 64  # samples that `Varispeed` may take beyond those of the frame


class Reference:
    """`opened` and `played` are the playback thread's, `read` one other's."""

    def __init__(self, rate_hz: int) -> None:
        self.wanted = False
        """Whether anybody reads; while nobody does, `played` costs nothing."""
        self.misses = 0
        """Frames for which the speaker's sound was not there."""
        self.lead_s = LEAD_S
        """How long before the sound that leaves the speaker is the sound that `read` returns. The reader's."""
        self._rate_hz = rate_hz
        self._ring = FrameRing(round(KEPT_S * rate_hz))
        self._clock = Envelope(rate_hz)
        self._resample: Callable[[F32], F32] | None = None
        self._scaled = Scratch(np.float32, rate_hz // 100)
        self._pcm = Scratch(np.int16, rate_hz // 100)
        self._player = Varispeed(self._pull)
        self._drift = 0.0
        self._missed = 0.0
        self._read = 0
        self._shortened_s = 0.0

    # ---- the playback thread's

    def opened(self, device_hz: int) -> None:
        """A device begins, at that rate; before its first callback counts."""
        self._resample = resampler(device_hz, self._rate_hz)
        self._clock.forget()

    def interrupted(self) -> None:
        """The device lost sound: what it plays from now on it plays later than counted."""
        self._clock.forget()

    def played(self, mono: Samples, at_s: float) -> None:
        """Note a block, at the device's rate, whose first sample leaves the speaker at `at_s` (monotonic)."""
        if not self.wanted:
            return
        begins = self._ring.written
        self._ring.write(mono if self._resample is None else self._at_our_rate(mono, self._resample))
        self._clock.note(at_s, begins)

    def _at_our_rate(self, mono: Samples, resample: Callable[[F32], F32]) -> Samples:
        scaled = self._scaled.get(mono.size)
        np.copyto(scaled, mono)
        ours = resample(scaled)
        return store_int16(ours, self._pcm.get(ours.size))

    # ---- the reader's

    def read(self, out: Samples, heard_at_s: float) -> bool:
        """The 10 ms that the speaker plays from `lead_s` after `heard_at_s` (monotonic, of the microphone's frame).

        False, and silence, when they are not there: nothing plays, or the speaker's buffer holds less than the lead,
        which is shortened when that goes on.
        """
        self._missed = max(0.0, self._missed - FORGIVEN)
        behind_s = self._go(heard_at_s)
        scarce = self._ring.fill < 2 * out.size + SPARE  # as the clocks drift, the next block may come a block later
        if scarce and self._read < SETTLE_FRAMES and behind_s >= -JUMP_S and self._plays(heard_at_s):
            self._lead(self.lead_s - LEAD_STEP_S, heard_at_s)
            behind_s = self._go(heard_at_s)
        if behind_s < -JUMP_S:  # from before the speaker began
            out.fill(0)
            return False
        if self._ring.fill < out.size + SPARE:
            return self._miss(out, heard_at_s)
        self._read += 1
        self._player.fill(out, self._speed(behind_s))
        if self.lead_s < LEAD_S and heard_at_s > self._shortened_s + LEAD_KEPT_S:
            self._lead(self.lead_s + LEAD_STEP_S, heard_at_s)
        return True

    def _go(self, heard_at_s: float) -> float:
        """To where what is wanted lies, if that is far; how much later than the reader it lies then, in seconds."""
        behind_s = self._behind_s(heard_at_s)
        if abs(behind_s) > JUMP_S:
            self._ring.skip(round(behind_s * self._rate_hz))
            behind_s = self._behind_s(heard_at_s)
        return behind_s

    def _behind_s(self, heard_at_s: float) -> float:
        return heard_at_s + self.lead_s - self._clock.start_s - self._ring.position / self._rate_hz

    def _plays(self, heard_at_s: float) -> bool:
        """Whether the speaker runs at all."""
        return self._clock.start_s + self._ring.written / self._rate_hz > heard_at_s + LEAD_MIN_S

    def _speed(self, behind_s: float) -> float:
        self._drift += INTEGRAL_GAIN * FRAME_S * behind_s
        self._drift = max(-PULL_MAX, min(PULL_MAX, self._drift))
        return 1.0 + self._drift + GAIN * behind_s

    def _miss(self, out: Samples, heard_at_s: float) -> bool:
        out.fill(0)
        self.misses += 1
        if self._plays(heard_at_s):  # only not so far ahead
            self._missed += 1.0
        if self._missed > MISSES:
            self._lead(self.lead_s - LEAD_STEP_S, heard_at_s)
        return False

    def _lead(self, lead_s: float, now_s: float) -> None:
        self.lead_s = max(LEAD_MIN_S, lead_s)
        self._missed, self._shortened_s = 0.0, now_s

    def _pull(self, samples: F32) -> None:
        if not self._ring.take(samples):
            samples.fill(0)
