"""Small real things that the network tests stand on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from appliance.ports import Samples

FRAME = 480


class Microphone:
    """`ports.FrameSource`: what a test says into it."""

    def __init__(self) -> None:
        self.waiting: deque[Samples] = deque()
        self._wakeup: Callable[[], None] | None = None

    def take(self, out: Samples) -> bool:
        if not self.waiting:
            return False
        out[:] = self.waiting.popleft()
        return True

    def set_wakeup(self, wakeup: Callable[[], None] | None) -> None:
        self._wakeup = wakeup

    @property
    def is_listened_to(self) -> bool:
        return self._wakeup is not None

    def say(self, *values: int) -> None:
        """One 10 ms frame of each value, then one wake-up: as a device block."""
        self.waiting.extend(np.full(FRAME, value, np.int16) for value in values)
        if self._wakeup is not None:
            self._wakeup()


class Mixer:
    """`ports.VoiceSink` that remembers."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}
        self.heard: dict[str, list[int]] = {}
        self.told: list[str] = []

    def add_audio_data(self, audio_data: Samples, stream_id: str = "default") -> None:
        assert stream_id in self.owners, f"{stream_id} sounds without being open"
        self.heard.setdefault(stream_id, []).append(int(audio_data[0]))

    def open_stream(self, stream_id: str, *, owner: str) -> None:
        self.owners[stream_id] = owner
        self.told.append(f"open {stream_id}")

    def remove_stream(self, stream_id: str) -> None:
        del self.owners[stream_id]
        self.told.append(f"remove {stream_id}")


def frame(value: int) -> Samples:
    return np.full(FRAME, value, np.int16)
