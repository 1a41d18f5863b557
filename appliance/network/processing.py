"""WebRTC's audio processing, as the SDK brings it: echo canceller, noise suppression, gain control, high-pass."""

from __future__ import annotations

from typing import Final

import numpy as np
from livekit import rtc

from appliance.ports import AUDIO_FRAME_MS, Processing, Samples

DELAY_MAX_MS: Final = 500  # more is refused


class SdkProcessor:
    """`ports.Processor`. The native part aborts the process on frames that are not 10 ms: sizes are checked here.

    Takes 1 to 15 ms to make; what a frame takes is in ARCHITECTURE (`python -m tests.bench.processing`).
    """

    def __init__(self, processing: Processing, rate_hz: int) -> None:
        size = rate_hz * AUDIO_FRAME_MS // 1000
        self._cancels = processing.echo_cancellation
        self._module = rtc.AudioProcessingModule(
            echo_cancellation=processing.echo_cancellation,
            noise_suppression=processing.noise_suppression,
            auto_gain_control=processing.gain_control,
            high_pass_filter=processing.high_pass,
        )
        self._near_frame, self._near = _frame(size, rate_hz)
        self._far_frame, self._far = _frame(size, rate_hz)

    def process(self, near: Samples, far: Samples, delay_ms: int) -> None:
        """See `ports.Processor`."""
        if near.shape != self._near.shape or far.shape != self._far.shape:
            raise ValueError(f"frames of {near.size} and {far.size} samples, not {self._near.size}")
        if self._cancels:
            self._far[:] = far
            self._module.process_reverse_stream(self._far_frame)
            self._module.set_stream_delay_ms(min(DELAY_MAX_MS, max(0, delay_ms)))
        self._near[:] = near
        self._module.process_stream(self._near_frame)
        near[:] = self._near


def _frame(size: int, rate_hz: int) -> tuple[rtc.AudioFrame, Samples]:
    """A frame of the SDK's, and its memory as an array."""
    frame = rtc.AudioFrame(bytearray(2 * size), rate_hz, 1, size)
    return frame, np.frombuffer(frame.data, np.int16)
