"""`Sender`: the one local track: published, fed, and there again after the SDK's reconnect.

What the SDK (livekit 1.2.1) does that shaped this file:

- The native part aborts the process on audio of a wrong size, so sizes are checked here, in Python, first.
- With `queue_size_ms=0` a frame goes straight to the encoder: no native thread, no standing delay, and exactly 10 ms
  a frame or it fails. RTP timestamps count samples, so whoever sends must never leave a gap (`capture.py` feeds
  silence).
- The SDK publishes again by itself after a reconnect; when that fails it only logs, and keeps the old publication.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np
import structlog
from livekit import rtc

from appliance.errors import NetworkError, Rejected, Stalled
from appliance.network import explain
from appliance.network import stats as counters
from appliance.network.crossing import Crossing, Microphone
from appliance.ports import AUDIO_FRAME_MS, Samples

log = structlog.get_logger()

RATES_HZ: Final = (8000, 16000, 24000, 32000, 48000)  # whole samples in 10 ms, and what the encoder takes
PUBLISH_TIMEOUT_S: Final = 5.0  # 0.02 s measured; the server's answer may be lost while the connection breaks
SEND_TIMEOUT_S: Final = 2.0  # 0.4 ms measured; a busy board may take a hundred times that, not five thousand
SAID_S: Final = 0.3  # after publishing the server has said all of it; 60 ms measured, at full load
SETTLE_S: Final = 1.0  # after `reconnected`, until the new sender shows in the statistics


class Sender:
    """The microphone's track in `room`. Loop thread. The room must be joined for all but `aclose`."""

    def __init__(
        self, room: rtc.Room, crossing: Crossing | None, *, read: Callable[[], Awaitable[counters.Reading | None]]
    ) -> None:
        """`crossing`: the way past the SDK's queue, if there is one. `read`: the room's statistics; None: it cannot
        tell."""
        self._room = room
        self._crossing = crossing
        self._read = read
        self._source: rtc.AudioSource | None = None
        self._track: rtc.LocalAudioTrack | None = None
        self._microphone: Microphone | None = None
        self._frame_samples = 0
        self._published_s = -math.inf

    async def publish(self, rate_hz: int) -> None:
        """Publish the track. Raises Rejected when the token does not allow it, NetworkError, ValueError."""
        self._may_publish()
        self._frame_samples = checked_rate(rate_hz) * AUDIO_FRAME_MS // 1000
        self._source = rtc.AudioSource(rate_hz, 1, queue_size_ms=0)
        self._track = rtc.LocalAudioTrack.create_audio_track("microphone", self._source)
        if self._crossing is not None:
            self._microphone = self._crossing.microphone(self._source, self._frame_samples)
        await self._publish()

    def _may_publish(self) -> None:
        may = self._room.local_participant.permissions
        sources = list(may.can_publish_sources)
        if not may.can_publish or (sources and rtc.TrackSource.SOURCE_MICROPHONE not in sources):
            raise Rejected(
                "the token does not allow this station to talk",
                fix="make one with canPublish, or set audio.input.enabled: false",
            )

    async def _publish(self) -> None:
        assert self._track is not None
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                await self._room.local_participant.publish_track(self._track, options)
        except TimeoutError:
            raise NetworkError(f"the microphone could not be published within {PUBLISH_TIMEOUT_S:g} s") from None
        except rtc.participant.PublishTrackError as err:
            raise NetworkError(f"the microphone could not be published: {explain.scrub(err.message)}") from None
        self._published_s = asyncio.get_running_loop().time()

    async def send(self, frame: Samples) -> None:
        """One frame of 10 ms, shape (samples,) int16, to the encoder. Raises ValueError for another size, Stalled."""
        if frame.shape != (self._frame_samples,) or frame.dtype != np.int16:
            raise ValueError(f"a frame is {self._frame_samples} int16 samples, not {frame.shape} {frame.dtype}")
        if self._source is None:
            raise NetworkError("no microphone is published")
        if self._microphone is not None and not self._microphone.busy:
            await self._microphone.send(frame)  # does not wait: nearly all frames, and a timer for each costs 25 µs
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send_in_turn(self._source, frame)
        except TimeoutError:
            raise Stalled(f"the encoder took no frame for {SEND_TIMEOUT_S:g} s") from None

    async def _send_in_turn(self, source: rtc.AudioSource, frame: Samples) -> None:
        """When the encoder has taken the one before."""
        if self._microphone is not None:
            await self._microphone.send(frame)
        else:
            await source.capture_frame(rtc.AudioFrame(frame.tobytes(), source.sample_rate, 1, self._frame_samples))

    async def match(self) -> None:
        """After a reconnect: one track if there was one, and it is sent. Raises NetworkError."""
        if self._track is None:
            return
        publications = list(self._room.local_participant.track_publications.values())
        for surplus in publications[1:]:
            log.warning("microphone.surplus", track=surplus.sid)
            await self._room.local_participant.unpublish_track(surplus.sid)
        if not publications or not await self._is_sent():
            log.warning("microphone.republished")
            await self._publish()

    async def _is_sent(self) -> bool:
        """Only the peer connection knows."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + SETTLE_S
        while loop.time() < end_s:
            reading = await self._read()
            if reading is None or counters.sends_audio(reading):
                return True
            await asyncio.sleep(0.05)
        return False

    @property
    def said_in_s(self) -> float:
        """Until the server has said all that there is to say of a new track. It does not hear a goodbye meanwhile: it
        finds the connection closed, reads no further, and shows us to the others for 21 s more (6 of 890 on a machine
        at full load)."""
        return max(0.0, self._published_s + SAID_S - asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Free what is native. The room must have been left."""
        if self._crossing is not None and self._microphone is not None:
            self._crossing.forget(self._microphone)
        if self._source is not None:
            await self._source.aclose()


def checked_rate(rate_hz: int) -> int:
    """`rate_hz`; ValueError for one that the native code cannot do."""
    if rate_hz not in RATES_HZ:
        raise ValueError(f"{rate_hz} Hz: use one of {RATES_HZ}")
    return rate_hz
