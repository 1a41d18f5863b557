"""The way out: the microphone's 10 ms frames to the encoder, and silence when there are none.

Packets are numbered by samples, not by time. When nothing is fed for a while, everything after the gap looks late to
the receivers and their jitter buffers grow by the gap and shrink slowly: 300 ms without frames gave 330 ms of delay
six seconds later, filled with silence it was over within the next five (measured). So this pump keeps the count of
frames in step with the clock whenever the microphone does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np
import structlog

from appliance.errors import NetworkError
from appliance.ports import AUDIO_FRAME_MS, Clock, FrameSource, Samples
from appliance.seam import join, remember, tail_of

log = structlog.get_logger()

FRAME_S: Final = AUDIO_FRAME_MS / 1000
QUIET_S: Final = 0.06  # longer than the longest device block (50 ms) and its jitter
CATCH_UP_FRAMES: Final = 2  # a tick, at most: twice real time gets back in step without a burst
OWED_FRAMES: Final = 100  # 1 s; after a longer stall (the board slept) receivers have started anew anyway
SHORTEST_WAIT_S: Final = 0.001  # rounding must not turn the pump into a spin


class CapturePump:
    """Sends every whole frame of `frames` in order; loop thread, but for the wake-up."""

    def __init__(
        self,
        *,
        frames: FrameSource,
        send: Callable[[Samples], Awaitable[None]],
        sample_rate: int,
        clock: Clock,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`on_failure` is told once when the pump cannot go on; a session that ended is not a failure of the pump."""
        self.frames_sent = 0
        self.silence_frames = 0
        self._frames = frames
        self._send = send
        self._clock = clock
        self._on_failure = on_failure
        self._frame = np.zeros(sample_rate * AUDIO_FRAME_MS // 1000, np.int16)
        self._silence = np.zeros_like(self._frame)
        self._tail = tail_of(sample_rate)
        self._woken = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_frame_s = 0.0
        self._filled = 0
        self._burst = 1

    def start(self) -> None:
        """Begin; the first silence goes out `QUIET_S` from now if the microphone stays quiet."""
        self._loop = asyncio.get_running_loop()
        self._last_frame_s = self._clock.monotonic()
        self._task = self._loop.create_task(self._run(), name="capture-pump")
        self._frames.set_wakeup(self._wake)
        self._woken.set()  # frames may wait already

    async def close(self) -> None:
        """Stop and let go of the source. Idempotent."""
        self._frames.set_wakeup(None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        self._cancel_alarm()

    def _wake(self) -> None:
        """On the audio thread. One call into the loop, however many blocks come before it runs."""
        if self._woken.is_set():  # a plain read: at worst one wake-up too many
            return
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:  # the loop closed between the device's last block and close()
            return

    async def _run(self) -> None:
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                await self._forward()
                await self._fill()
                self._set_alarm()
        except NetworkError as err:
            log.debug("capture.ended", reason=err.reason)  # the session's end reaches the manager from the room
        except Exception as err:
            self._on_failure(err)

    async def _forward(self) -> None:
        sent = 0
        while self._frames.take(self._frame):
            if not sent and self._clock.monotonic() - self._last_frame_s >= QUIET_S:
                join(self._frame, self._tail)  # after silence, or a stall in which frames were lost
            await self._send_one(self._frame)
            sent += 1
        if sent:
            self.frames_sent += sent
            self._burst = sent
            self._last_frame_s = self._clock.monotonic()
            self._filled = 0

    async def _fill(self) -> None:
        """Silence for the time since the last real frame, a little at a time."""
        quiet_s = self._clock.monotonic() - self._last_frame_s
        if quiet_s < self._patience_s():
            return
        owed = int(quiet_s / FRAME_S + 1e-6) - self._filled
        if owed > OWED_FRAMES:
            self._filled += owed - 1
            owed = 1
        for _ in range(min(owed, CATCH_UP_FRAMES)):
            self._silence.fill(0)
            join(self._silence, self._tail)
            await self._send_one(self._silence)
            self._filled += 1
            self.silence_frames += 1

    def _patience_s(self) -> float:
        """A device that delivers five frames at a time is quiet for 50 ms each time: that is not silence."""
        return max(QUIET_S, 2 * self._burst * FRAME_S)

    async def _send_one(self, frame: Samples) -> None:
        await self._send(frame)
        remember(frame, self._tail)

    def _set_alarm(self) -> None:
        """Wake up by the time that silence may be due. While the microphone works, that is some 16 times a second."""
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._until_due_s(), self._ring)

    def _until_due_s(self) -> float:
        due_s = self._last_frame_s + max(self._patience_s(), (self._filled + 1) * FRAME_S)
        return max(SHORTEST_WAIT_S, due_s - self._clock.monotonic())

    def _ring(self) -> None:
        self._alarm = None
        self._woken.set()

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
