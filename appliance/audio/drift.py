"""Clocks that differ: how long sound really waits, and how much faster it has to be taken. Pure arithmetic.

The network hands in sound on one clock, the speaker takes it on another, and neither keeps its appointments: frames
are late, callbacks come in bunches. (A microphone and the network are such a pair too.) But nobody is early: the
earliest of many appointments tells where a clock stands. So the wait is measured between two lower envelopes, which is
exact to a part of a sample in theory and to a fraction of a millisecond in practice, while the number of samples in the
buffer jumps by a whole frame at any moment.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

WINDOW_S: Final = 1.0  # one punctual appointment in this is enough; the envelope looks at this and the one before
STEP_S: Final = 0.1  # between two looks of the control
GAIN: Final = 0.1  # 1/s: a wait that is 1 ms too long is taken back at 100 ppm, most of it within 10 s
INTEGRAL_GAIN: Final = GAIN * GAIN / 4  # 1/s²: as much as goes without overshoot
SMOOTH_S: Final = 2.0  # the wait is known to 0.3 ms: without this, speed would step by 30 ppm and be heard in a sine
SLEW: Final = 60e-6  # 1/s, most that the pull changes: what glides faster is as good as distortion (−60 dB) for a sine
PULL_MAX: Final = 350e-6  # less than 1 cent (578 ppm), with the 170 that late frames put the crystal's rate wrong by
WINDUP_S: Final = 0.0025  # what a longer wait adds no more of to the integral: it is a stall's, not a clock's
GROSS: Final = 1500e-6  # no crystal is so far off: the device does not run at the rate that it says
GROSS_WINDOWS: Final = 5  # seconds to find that out: 1 ms of bunching is then 200 ppm
GROSS_SPREAD: Final = 1000e-6  # most that these seconds may differ: callbacks that stall again and again look slow too
CORRECTION_MAX: Final = 0.01  # what is further off is another rate, and would be heard as another voice


class Envelope:
    """The earliest of what happens on one clock: `note` after each piece of sound that came or went.

    Times are in seconds of one clock of ours, positions in samples since the beginning. `note` is one thread's; the
    rest may be read by anyone.
    """

    def __init__(self, rate_hz: int) -> None:
        self.late_s = 0.0
        """How late the last one was."""
        self.latest_s = 0.0
        """How late the latest of the last whole window was."""
        self.windows = 0
        """Whole windows seen."""
        self._peak_s = 0.0
        self._rate_hz = rate_hz
        self._window = round(WINDOW_S * rate_hz)
        self._forgotten = True
        self._ends = 0
        self._now_s = self._before_s = self._late_s = 0.0

    @property
    def start_s(self) -> float:
        """When position 0 would have been punctual; meaningless before the first `note`."""
        return min(self._now_s, self._before_s)

    def forget(self) -> None:
        """Begin anew with the next note. Any thread."""
        self._forgotten = True

    def note(self, at_s: float, position: int) -> None:
        """Sound up to `position` came, or went, at that time."""
        start_s = at_s - position / self._rate_hz
        if self._forgotten:
            self._forgotten = False
            self._now_s = self._before_s = start_s
            self._late_s = 0.0
            self._ends = position + self._window
        elif position >= self._ends:
            self._turn(position, start_s)
        elif start_s < self._now_s:
            self._now_s = start_s
        self.late_s = start_s - self.start_s
        if self.late_s > self._late_s:
            self._late_s = self.late_s
        if self.late_s > self._peak_s:
            self._peak_s = self.late_s

    def _turn(self, position: int, start_s: float) -> None:
        self.latest_s, self._late_s = self._late_s, 0.0
        self._before_s, self._now_s = self._now_s, start_s
        self._ends = position + self._window
        self.windows += 1

    def take_latest_s(self) -> float:
        """How late the latest was since the call before: one caller's."""
        peak_s, self._peak_s = self._peak_s, 0.0
        return peak_s

    def move(self, samples: int) -> None:
        """Positions are counted anew: what was `p` is `p + samples` now."""
        self._now_s -= samples / self._rate_hz
        self._before_s -= samples / self._rate_hz


class RateControl:
    """Decides how many samples to take for each that is played, so that the wait stays what it should be.

    A proportional and integral control of the mean wait, and a shortcut for devices whose rate is not what they say.
    One audio thread's.
    """

    def __init__(self, rate_hz: int) -> None:
        self.speed = 1.0
        """Samples of ours for each of the device's, did its crystal say the truth."""
        self._rate_hz = rate_hz
        self._integral = 0.0
        self._pull = 0.0
        self._excess_s: float | None = None
        self._since_step = 0.0
        self._device = DeviceRate(rate_hz)

    @property
    def correction_ppm(self) -> float:
        """How far `speed` is from 1."""
        return (self.speed - 1.0) * 1e6

    def restart(self) -> None:
        """The device was opened anew. What was learned stays: most often it is the same one."""
        self._device = DeviceRate(self._rate_hz)

    def played(self, samples: int, now_s: float) -> bool:
        """Note that `samples` were taken at that time; True when it is time for `control`."""
        taken = samples / self.speed
        self._since_step += taken
        gross = self._device.note(now_s, taken)
        if gross is not None and abs(gross - self._integral) > GROSS:
            self._integral = max(-CORRECTION_MAX, min(CORRECTION_MAX, gross))
        return self._since_step >= STEP_S * self._rate_hz

    def control(self, excess_s: float | None) -> None:
        """Take up by how much too long sound waits just now (mean over the voices; None: there is none)."""
        step_s, self._since_step = self._since_step / self._rate_hz, 0.0
        pull = 0.0
        if excess_s is None:
            self._excess_s = None
        else:
            before_s = self._excess_s if self._excess_s is not None else 0.0
            self._excess_s = smooth_s = before_s + (excess_s - before_s) * min(1.0, step_s / SMOOTH_S)
            pull = max(-PULL_MAX, min(PULL_MAX, GAIN * smooth_s))
            self._integral += INTEGRAL_GAIN * step_s * max(-WINDUP_S, min(WINDUP_S, smooth_s))
            self._integral = max(-CORRECTION_MAX, min(CORRECTION_MAX, self._integral))
        most = SLEW * step_s
        self._pull += max(-most, min(most, pull - self._pull))
        self.speed = 1.0 + self._integral + self._pull


class DeviceRate:
    """Whether a device takes sound at a rate that no crystal explains, by our own clock. One audio thread's."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._envelope = Envelope(rate_hz)
        self._taken = 0.0
        self._windows = 0
        self._starts_s: list[float] = []

    def note(self, now_s: float, taken: float) -> float | None:
        """Note `taken` samples of the device's. Once a second, if it is plain: what to take of ours for each of them,
        less 1."""
        self._taken += taken
        self._envelope.note(now_s, round(self._taken))
        if self._envelope.windows == self._windows:
            return None
        self._windows = self._envelope.windows
        self._starts_s.append(self._envelope.start_s)
        if len(self._starts_s) <= GROSS_WINDOWS:
            return None
        return self._slope()

    def _slope(self) -> float | None:
        """A clock is as far off in each second as in the next; a board that is too busy is not."""
        steps = [(after - before) / WINDOW_S for before, after in pairwise(self._starts_s)]
        self._starts_s.pop(0)
        mean = sum(steps) / len(steps)
        if max(steps) - min(steps) > GROSS_SPREAD or abs(mean) > 2 * CORRECTION_MAX:
            return None
        return mean
