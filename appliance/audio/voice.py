"""`Voice`: one stream as the mixer hears it: its buffer, its volume, and whether it carries sound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from appliance.audio.jitter import Bench, JitterBuffer
from appliance.audio.pcm import F32, FULL_SCALE, LevelMeter
from appliance.ports import Samples

SOUNDS_DBFS: Final = -60.0  # RMS of 10 ms: below a whisper in a quiet room, above a codec's comfort noise
HOLD_S: Final = 0.4  # longer than the pauses between words: the others do not get louder at each of them

_SOUNDS_SQUARE: Final = (FULL_SCALE * math.pow(10, SOUNDS_DBFS / 20)) ** 2


class Voice:
    """`write` is the stream's writer's; `volume` and `leaving` are set by the mixer's owner, under its lock; `add_to`
    and `restart` are the audio thread's."""

    def __init__(self, stream_id: str, *, owner: str, volume: float, playout_ms: float, bench: Bench) -> None:
        self.stream_id: Final = stream_id
        self.owner = owner
        self.volume = volume
        """Gain that it is on its way to, in a frame."""
        self.leaving = False
        """Fades out within a frame and is then `finished`."""
        self.finished = False
        self.meter: Final = LevelMeter()
        """As it came, before its volume."""
        self.buffer: Final = JitterBuffer(playout_ms=playout_ms, bench=bench)
        self._bench = bench
        self._gain = volume
        self._hold = 0

    @property
    def sounding(self) -> bool:
        """Whether it carries sound now, or did a moment ago."""
        return self._hold > 0

    def write(self, samples: Samples, at_s: float) -> None:
        """Append, shape (n,), that came at that time. Never waits."""
        self.buffer.write(samples, at_s)

    def restart(self) -> None:
        """Forget what waits: nobody has read for a while."""
        self.buffer.restart()
        self._hold = 0

    def add_to(self, total: F32, block: int, rest: int) -> None:
        """Add the next piece to `total`, scaled. `block`, `rest`: see `JitterBuffer.read`."""
        sound = self._bench.sound[: total.size]
        square_sum = 0.0
        if self.buffer.read(sound, block, rest):
            square_sum = float(np.dot(sound, sound))
        self.meter.add_sums(square_sum, total.size)
        self._note_sounding(square_sum, total.size)
        before, self._gain = self._gain, 0.0 if self.leaving else self.volume
        if square_sum and (before or self._gain):
            self._bench.ramp.apply(sound, before, self._gain)
            np.add(total, sound, out=total)
        self.finished = self.leaving

    def _note_sounding(self, square_sum: float, size: int) -> None:
        if self.leaving:
            self._hold = 0
        elif square_sum * self.volume**2 >= _SOUNDS_SQUARE * size:
            self._hold = round(HOLD_S * self._bench.rate_hz)
        else:
            self._hold = max(0, self._hold - size)

    def get_metrics(self) -> Mapping[str, object]:
        """What `AudioMixer.get_metrics` says of each stream; level and lateness since the call before. One caller's."""
        return {
            "owner": self.owner,
            "level_dbfs": round(self.meter.take()[0], 1),
            "buffer_ms": round(1000 * self.buffer.fill / self._bench.rate_hz, 1),
            "target_ms": round(1000 * self.buffer.target_s, 1),
            "volume": self.volume,
            "late_ms_max": round(1000 * self.buffer.take_latest_s(), 1),
            "bridged": self.buffer.bridged,
            "underruns": self.buffer.underruns,
            "frames": self.buffer.written,
        }
