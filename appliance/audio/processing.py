"""`ProcessedFrames`: the microphone's frames on their way to the network, rid of what does not belong to them.

It runs where the frames are taken, on the event loop's thread: a canceller takes 0.2 ms for a frame, which would be
too much for an audio thread, and allocates as it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from appliance.audio.duplex import Ducking, HalfDuplex
from appliance.audio.pcm import F32, GainRamp, dbfs, store_int16
from appliance.audio.reference import Reference
from appliance.audio.ring import FrameRing
from appliance.audio.timed import TimedFrames
from appliance.ports import AUDIO_FRAME_MS, Processing, Processor, ProcessorFactory, Samples
from appliance.settings.model import Duplex

log = structlog.get_logger()

FAR_SPEAKS_DBFS: Final = -50.0  # what is softer leaves no echo to measure


NOTHING: Final = Processing()


@dataclass(frozen=True, slots=True)
class Treatment:
    """All that is done to the microphone's sound."""

    processing: Processing = NOTHING
    duplex: Duplex = Duplex.FULL

    def __bool__(self) -> bool:
        return bool(self.processing) or self.duplex is not Duplex.FULL


class ProcessedFrames:
    """`ports.FrameSource` over the microphone's sound. Its reader's thread only: the loop's."""

    def __init__(
        self,
        *,
        source: TimedFrames,
        reference: Reference,
        rate_hz: int,
        new_processor: ProcessorFactory,
        set_duck: Callable[[float], None],
    ) -> None:
        """`set_duck` is told by what to multiply the speaker's volume."""
        self.treatment = Treatment()
        """What is done now; see `use`."""
        self._source = source
        self._reference = reference
        self._rate_hz = rate_hz
        self._new_processor = new_processor
        self._set_duck = set_duck
        self._processor: Processor | None = None
        self._half: HalfDuplex | None = None
        self._ducking: Ducking | None = None
        self._far = np.zeros(rate_hz * AUDIO_FRAME_MS // 1000, np.int16)
        self._scaled = np.zeros(self._far.size, np.float32)
        self._ramp = GainRamp(self._far.size)
        self._gain = 1.0
        self._taps: tuple[FrameRing, ...] = ()
        self._loss = EchoLoss()

    def use(self, treatment: Treatment) -> None:
        """Do this from the next frame on. What was learned stays unless its own switch changed."""
        before, self.treatment = self.treatment, treatment
        self._reference.wanted = treatment.processing.echo_cancellation or treatment.duplex is not Duplex.FULL
        if treatment.processing != before.processing:
            self._processor = self._made(treatment.processing)
        if treatment.duplex is not before.duplex:
            self._half = HalfDuplex() if treatment.duplex is Duplex.HALF else None
            self._ducking = Ducking() if treatment.duplex is Duplex.DUCKING else None
            self._set_duck(1.0)

    def _made(self, processing: Processing) -> Processor | None:
        if not processing:
            return None
        try:
            return self._new_processor(processing, self._rate_hz)
        except Exception as error:  # a call without it is better than none
            log.error("processing.failed", detail=str(error))
            return None

    def take(self, out: Samples) -> bool:
        """See `ports.FrameSource`."""
        if not self._source.take(out):
            return False
        if self.treatment or self._gain != 1.0:
            self._process(out, self._source.heard_at_s)
        for tap in self._taps:
            tap.write(out)
        return True

    def set_wakeup(self, wakeup: Callable[[], None] | None) -> None:
        """See `ports.FrameSource`."""
        self._source.set_wakeup(wakeup)

    def add_tap(self, ring: FrameRing) -> None:
        """Have all that is sent written to `ring` too."""
        self._taps = (*self._taps, ring)

    def remove_tap(self, ring: FrameRing) -> None:
        """No more of that. Unknown: nothing happens."""
        self._taps = tuple(tap for tap in self._taps if tap is not ring)

    # ---- inside

    def _process(self, near: Samples, heard_at_s: float) -> None:
        far_dbfs = near_dbfs = dbfs(0.0)
        if self._reference.wanted:
            self._reference.read(self._far, heard_at_s)
            far_dbfs, near_dbfs = self._level(self._far), self._level(near)
        if self._processor is not None:
            self._clean(self._processor, near)
        if self._ducking is not None:
            self._set_duck(self._ducking.gain(near_dbfs, far_dbfs))
        self._amplify(near, self._half.gain(far_dbfs) if self._half is not None else 1.0)
        if far_dbfs > FAR_SPEAKS_DBFS:
            self._loss.add(near_dbfs, self._level(near))

    def _clean(self, processor: Processor, near: Samples) -> None:
        try:
            processor.process(near, self._far, round(self._reference.lead_s * 1000))
        except Exception as error:  # the microphone goes on as it is
            self._processor = None
            log.error("processing.failed", detail=str(error))

    def _amplify(self, near: Samples, gain: float) -> None:
        before, self._gain = self._gain, gain
        if before == gain == 1.0:
            return
        np.copyto(self._scaled, near)
        self._ramp.apply(self._scaled, before, gain)
        store_int16(self._scaled, near)

    def _level(self, samples: Samples) -> float:
        scaled: F32 = self._scaled
        np.copyto(scaled, samples)
        return dbfs(float(np.dot(scaled, scaled) / scaled.size) ** 0.5)

    def get_metrics(self) -> dict[str, object]:
        """`erle_db`: by how much the microphone was made softer while the speaker sounded, since the call before: one
        caller's; None: it did not sound, or nothing is done against echo. `misses`: frames without the speaker's
        sound."""
        processing = self.treatment.processing
        return {
            "echo_cancellation": processing.echo_cancellation and self._processor is not None,
            "noise_suppression": processing.noise_suppression and self._processor is not None,
            "gain_control": processing.gain_control and self._processor is not None,
            "high_pass": processing.high_pass and self._processor is not None,
            "duplex": self.treatment.duplex.value,
            "erle_db": self._loss.take_db(),
            "delay_ms": round(self._reference.lead_s * 1000),
            "misses": self._reference.misses,
        }


class EchoLoss:
    """By how much sound became softer, in power over many frames."""

    def __init__(self) -> None:
        self._before = self._after = 0.0

    def add(self, before_dbfs: float, after_dbfs: float) -> None:
        """One frame's level before and after."""
        self._before += 10 ** (before_dbfs / 10)
        self._after += 10 ** (after_dbfs / 10)

    def take_db(self) -> float | None:
        """Since the call before; None: there was none."""
        before, after, self._before, self._after = self._before, self._after, 0.0, 0.0
        return round(ratio_db(before, after), 1) if before else None


def ratio_db(before: float, after: float) -> float:
    """Two powers as dB between them."""
    return float(10 * np.log10(before / after)) if after > 0 else 0.0
