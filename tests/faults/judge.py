"""Who hears whom, and when not: read from the recording of all loudspeakers while it runs."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tests.harness.signals import FULL_SCALE, RATE_HZ, Pcm

HOP: Final = 960
HOP_S: Final = HOP / RATE_HZ
"""How finely sound and silence are told apart: 20 ms. Shorter windows cannot tell 433 Hz from its neighbours."""
LOUD_DBFS: Final = -30.0
"""The tones arrive at about -12 dBFS; concealment fades them to nothing within a tenth of a second."""
GAP_S: Final = 0.3
"""From this length on a silence is an outage; what a busy test machine swallows is shorter."""
LOST_S: Final = 0.3  # the recording fell behind by so much that samples must be missing in it

Flags = NDArray[np.bool_]


class Recording(Protocol):
    """What a judge needs of a `sound.Tape`."""

    @property
    def frames(self) -> int: ...

    def ear(self, name: str, since_frame: int = 0) -> Pcm: ...

    def forget(self, before_frame: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """One direction of a call: who says which tone, and at whose loudspeaker it should arrive."""

    speaker: str
    listener: str
    voice_hz: float

    def __str__(self) -> str:
        return f"{self.speaker} at {self.listener}"


@dataclass(frozen=True, slots=True)
class Gap:
    """A silence, in seconds of the monotonic clock."""

    from_s: float
    to_s: float

    @property
    def length_s(self) -> float:
        return self.to_s - self.from_s


class Judge:
    """Keeps for each way, in steps of 20 ms, whether its tone was there. `look()` before asking."""

    def __init__(self, tape: Recording, ways: Sequence[Way], now: Callable[[], float] = time.monotonic) -> None:
        self.ways: Final = tuple(ways)
        self._tape: Final = tape
        self._now: Final = now
        self._at = tape.frames
        self._ends_s: Final = array("d")
        self._heard: Final = {way: bytearray() for way in self.ways}

    @property
    def judged_s(self) -> float:
        """Until when it knows; monotonic."""
        return self._ends_s[-1] if self._ends_s else float("-inf")

    def look(self) -> None:
        """Take in what was recorded since the last look."""
        now_s = self._now()
        frames = self._tape.frames
        hops, rest = divmod(frames - self._at, HOP)
        if not hops:
            return
        for way, heard in self._heard.items():
            heard.extend(sounding(self._tape.ear(way.listener, self._at)[: hops * HOP], way.voice_hz).tobytes())
        self._date(hops, latest_s=now_s - rest / RATE_HZ)
        self._at += hops * HOP
        self._tape.forget(self._at)

    def _date(self, hops: int, latest_s: float) -> None:
        """Sound's own clock, as long as it agrees with ours: a look that comes late must not shift what it sees."""
        end_s = self.judged_s + hops * HOP_S
        if not latest_s - LOST_S <= end_s <= latest_s:
            end_s = latest_s
        before_s = self.judged_s
        self._ends_s.extend(max(before_s, end_s - HOP_S * i) for i in range(hops - 1, -1, -1))

    # ---- what is asked ---------------------------------------------------------------------------------------------

    def gaps(self, way: Way, from_s: float, to_s: float | None = None, *, longer_s: float = GAP_S) -> list[Gap]:
        """Silences in that span that last longer than `longer_s`; one that goes on ends at `to_s` (or now)."""
        ends_s, heard = self._span(way, from_s, to_s)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], ~heard, [False])).astype(np.int8)))
        found = [
            Gap(float(ends_s[a]) - HOP_S, float(ends_s[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
        return [gap for gap in found if gap.length_s > longer_s]

    def steady_since(self, after_s: float, *, from_s: float | None = None) -> float:
        """From when on, not before `after_s`, every way has been without an outage; `judged_s` while one lasts.

        `from_s`: when what may have caused an outage began, so that its gap is measured whole.
        """
        start_s = after_s if from_s is None else from_s
        return max([after_s, *(gap.to_s for way in self.ways for gap in self.gaps(way, start_s))])

    def heard_s(self, way: Way, from_s: float, to_s: float) -> tuple[float, float]:
        """Seconds with sound, and seconds looked at."""
        _, heard = self._span(way, from_s, to_s)
        return float(heard.sum()) * HOP_S, heard.size * HOP_S

    def _span(self, way: Way, from_s: float, to_s: float | None) -> tuple[NDArray[np.float64], Flags]:
        ends_s = np.frombuffer(self._ends_s.tobytes(), np.float64)
        start = int(np.searchsorted(ends_s, from_s, side="right"))
        stop = ends_s.size if to_s is None else int(np.searchsorted(ends_s, to_s, side="right"))
        heard = np.frombuffer(bytes(self._heard[way]), np.bool_)
        return ends_s[start:stop], heard[start:stop]


def sounding(samples: Pcm, voice_hz: float) -> Flags:
    """Whether the tone is there, for each whole 20 ms of mono int16 at 48 kHz, shape (n // 960,)."""
    whole = samples[: samples.size // HOP * HOP].reshape(-1, HOP)
    window = np.hanning(HOP)
    carrier = window * np.exp(-2j * np.pi * voice_hz * np.arange(HOP) / RATE_HZ)
    amplitude = 2 * np.abs(whole @ carrier) / window.sum() / FULL_SCALE
    return np.asarray(amplitude > 10 ** (LOUD_DBFS / 20))
