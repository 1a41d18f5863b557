"""`TimedFrames`: the microphone's sound by the computer's clock, whatever its own crystal makes of a second.

Packets are numbered by samples. A microphone that is 100 ppm fast fills every listener's NetEQ by 0.1 ms a second, and
each cuts 9 ms out of what is said when it has had enough, a minute and a half later; a slow one has them play 9 ms
twice (measured). So sound is taken from the ring at the pace at which it comes, by a `Varispeed` that a `RateControl`
steers, and leaves with as many samples as seconds have passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from appliance.audio.drift import WINDOW_S, Envelope, RateControl
from appliance.audio.pcm import F32
from appliance.audio.ring import FrameRing
from appliance.audio.varispeed import Varispeed
from appliance.ports import Samples

SPARE_S: Final = 0.0005  # a block gives its frame although the control is off by 0.1 ms, or soxr a few samples short
JUMP_S: Final = 0.004  # a crystal that is 300 ppm off has moved by 3 ms when it is found out; beyond, sound was lost
ANEW_S: Final = 0.1  # silence has been sent meanwhile: a device or a listener begins anew, and what is left over is old
SETTLE_S: Final = 2 * WINDOW_S  # until the envelope has seen punctual callbacks


class TimedFrames:
    """`ports.FrameSource` over the microphone's ring. Its reader's thread only: the loop's."""

    def __init__(self, *, source: FrameRing, captured: Envelope, handed: Envelope, rate_hz: int) -> None:
        """`captured`: when what is in `source` came into the microphone, `handed`: when it was given to us. The latter
        steers: a sound server's time stamps are off by milliseconds, its calls never early."""
        self.heard_at_s = 0.0
        """When the first sample of the last frame came into the microphone, by `captured`."""
        self._source = source
        self._captured = captured
        self._handed = handed
        self._rate_hz = rate_hz
        self._control = RateControl(rate_hz)
        self._player = Varispeed(self._pull)
        self._spare = 0
        self._due_s = -math.inf
        self._unsettled = 0

    @property
    def speed(self) -> float:
        """Samples of the microphone's for each that leaves."""
        return 1.0 / self._control.speed

    @property
    def drift_ppm(self) -> float:
        """How much slower the microphone is than it says."""
        return self._control.correction_ppm

    def take(self, out: Samples) -> bool:
        """See `ports.FrameSource`."""
        speed = self.speed
        left = self._left(out.size, speed)
        if left < 0:
            return False
        if self._handed_s() - self._due_s >= ANEW_S:
            self._source.skip(left % out.size)
            self._spare = round(SPARE_S * self._rate_hz)
        handed_s = self._handed_s()
        self._settle(handed_s, out.size)
        self.heard_at_s = handed_s - self._handed.start_s + self._captured.start_s
        self._player.fill(out, speed)
        self._steer(handed_s, out.size)
        return True

    def set_wakeup(self, wakeup: Callable[[], None] | None) -> None:
        """See `ports.FrameSource`."""
        self._source.set_wakeup(wakeup)
        self._due_s = -math.inf

    # ---- inside

    def _left(self, size: int, speed: float) -> int:
        """Samples that are left when a frame is taken; below 0: it is not there yet."""
        return self._spare + self._source.fill - self._player.needs(size, speed)

    def _handed_s(self) -> float:
        """When the next sample was given to us, were the callbacks punctual."""
        position = self._source.position - self._spare - self._player.held
        return self._handed.start_s + position / self._rate_hz

    def _settle(self, handed_s: float, size: int) -> None:
        """What is far from where it is due was interrupted: it is due where it is now."""
        if abs(handed_s - self._due_s) > JUMP_S:
            self._unsettled = round(SETTLE_S * self._rate_hz)
        if self._unsettled > 0:
            self._unsettled -= size
            self._due_s = handed_s

    def _steer(self, handed_s: float, size: int) -> None:
        """What is handed after it is due comes too slowly, as sound that waits too long for a speaker."""
        if self._control.played(size, handed_s):
            self._control.control(None if self._unsettled > 0 else handed_s - self._due_s)
        self._due_s += size / self._rate_hz

    def _pull(self, samples: F32) -> None:
        silent = min(self._spare, samples.size)
        self._spare -= silent
        samples[:silent] = 0
        if silent < samples.size and not self._source.take(samples[silent:]):
            samples[silent:] = 0
