"""One direction of a call, measured while it runs: what one station says and another plays, marks on one tape."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from tests.harness.signals import RATE_HZ, SILENCE_DBFS, Pcm, best_match, chirp, find_marks, level_dbfs

REACH_S: Final = 0.8  # how late a mark may come; announcements repeat once a second
STEP_S: Final = 1.0


class Recording(Protocol):
    """What an ear needs of a `sound.Tape`."""

    @property
    def frames(self) -> int: ...

    def mouth(self, name: str, since_frame: int = 0) -> Pcm: ...

    def ear(self, name: str, since_frame: int = 0) -> Pcm: ...


class Ear:
    """How well `listener` hears `speaker`, from the marks of `signals.announcement`."""

    def __init__(self, tape: Recording, *, speaker: str, listener: str, voice_hz: float) -> None:
        self.speaker: Final = speaker
        self.listener: Final = listener
        self.delays_ms: Final[list[float]] = []
        self.lost = 0
        """Marks that were said after the first one was heard, and not heard."""
        self.level_dbfs = SILENCE_DBFS
        """The speaker's tone in the last second."""
        self._voice_hz: Final = voice_hz
        self._tape: Final = tape
        self._mark: Final = chirp()
        self._at = tape.frames
        self._last_mark = -RATE_HZ

    @property
    def heard(self) -> bool:
        """Whether the listener hears the speaker: nine marks of ten, counted from the first."""
        return bool(self.delays_ms) and self.lost <= 1 + len(self.delays_ms) // 10

    def update(self) -> int:
        """Look at what was recorded since; returns the frame before which this ear needs the tape no more."""
        tail = round(REACH_S * RATE_HZ) + self._mark.size
        while self._tape.frames - self._at >= STEP_S * RATE_HZ + tail:
            self._look(round(STEP_S * RATE_HZ), tail)
        return self._at

    def _look(self, step: int, tail: int) -> None:
        mouth = self._tape.mouth(self.speaker, self._at)
        ear = self._tape.ear(self.listener, self._at)
        for start in find_marks(mouth[: step + 2 * self._mark.size], self._mark, min_match=0.8):
            # A mark on the seam between two steps is seen from both.
            if start < step and self._at + start - self._last_mark >= self._mark.size:
                self._last_mark = self._at + start
                self._take(ear[start : start + tail])
        self.level_dbfs = self._loudest(ear[:step])
        self._at += step

    def _take(self, window: Pcm) -> None:
        heard_at = best_match(window, self._mark)
        if heard_at is not None:
            self.delays_ms.append(heard_at * 1000.0 / RATE_HZ)
        elif self.delays_ms:
            self.lost += 1

    def _loudest(self, ear: Pcm) -> float:
        """The tone is there for a part of each second only: the loudest tenth of it tells its level."""
        tenth = RATE_HZ // 10
        pieces = (ear[start : start + tenth] for start in range(0, ear.size - tenth + 1, tenth))
        return max((level_dbfs(piece, self._voice_hz) for piece in pieces), default=SILENCE_DBFS)

    def summary(self) -> str:
        """One line for a person."""
        if not self.delays_ms:
            return f"{self.listener} did not hear {self.speaker}"
        p50, p95 = np.percentile(self.delays_ms, [50, 95])
        said = len(self.delays_ms) + self.lost
        return (
            f"{self.listener} heard {self.speaker}: {len(self.delays_ms)} of {said} marks, "
            f"mouth to ear p50 {p50:.0f} ms, p95 {p95:.0f} ms, level {self.level_dbfs:.0f} dBFS"
        )
