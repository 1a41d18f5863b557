"""Taking turns, for boards that cannot afford an echo canceller. Pure arithmetic over levels, a frame of 10 ms each.

What is `far` leaves the speaker at the moment at which `near` enters the microphone, or a little later: both switches
know the beginning of a word before its echo comes.
"""

from __future__ import annotations

from typing import Final

from appliance.ports import AUDIO_FRAME_MS

FRAME_S: Final = AUDIO_FRAME_MS / 1000
SPEECH_DBFS: Final = -50.0  # softer than a voice at the far end of a room, louder than a good microphone's noise
ABOVE_NOISE_DB: Final = 9.0  # a voice stands out of the noise of its own room by more than that
NOISE_RISE_DB: Final = 3.0  # a second: words are too short to become the noise, a fan that is switched on is not
HOLD_S: Final = 0.15  # the pauses inside a word are shorter, and a room has decayed by then
DUCK_HOLD_S: Final = 0.2
DUCK_GAIN: Final = 0.125  # −18 dB: still heard, and its echo is no longer in the way
NEAR_ABOVE_ECHO_DB: Final = 8.0  # a voice near the microphone is louder there than the speaker's echo, by that
COUPLING_START_DB: Final = 0.0  # before it is known: the echo is as loud as what is played
COUPLING_DB: Final = 10.0  # a second, by which it is found out while only the far end speaks
COUPLING_NEAR_DB: Final = 1.0  # a second, upwards, while a voice here seems to speak: it may be a volume turned up
LOUD_DB: Final = 3.0  # below the far end's last peak: only then is its echo as loud as it gets
ECHO_TAIL_DB: Final = 60.0  # a second, by which a room's reverberation fades
FLOOR_DBFS: Final = -120.0


class Speech:
    """Whether somebody speaks: louder than the noise that is always there. `heard` with each frame."""

    def __init__(self, hold_s: float) -> None:
        self.active = False
        self._hold_s = hold_s
        self._left_s = 0.0
        self._noise_dbfs = SPEECH_DBFS - ABOVE_NOISE_DB

    def heard(self, level_dbfs: float) -> bool:
        """Take up one frame; whether somebody speaks, or spoke within the hold time."""
        speaks = level_dbfs > max(SPEECH_DBFS, self._noise_dbfs + ABOVE_NOISE_DB)
        self._noise_dbfs = min(max(level_dbfs, FLOOR_DBFS), self._noise_dbfs + NOISE_RISE_DB * FRAME_S)
        self._left_s = self._hold_s if speaks else max(0.0, self._left_s - FRAME_S)
        self.active = self._left_s > 0.0
        return self.active


class HalfDuplex:
    """The microphone is silent while the far end speaks: nobody hears himself, and nobody can interrupt."""

    def __init__(self) -> None:
        self._far = Speech(HOLD_S)

    def gain(self, far_dbfs: float) -> float:
        """What the microphone's frame is to be multiplied by."""
        return 0.0 if self._far.heard(far_dbfs) else 1.0


class Ducking:
    """The speaker is softer while somebody speaks into the microphone: he can interrupt, and his partner hears little
    of himself meanwhile."""

    def __init__(self) -> None:
        self.coupling_db = COUPLING_START_DB
        """How much louder the echo is than what is played."""
        self._near = Speech(DUCK_HOLD_S)
        self._echo_of_dbfs = FLOOR_DBFS

    def gain(self, near_dbfs: float, far_dbfs: float) -> float:
        """What the speaker is to be multiplied by. `far_dbfs` is what is played now, ducked as it is."""
        self._echo_of_dbfs = max(far_dbfs, self._echo_of_dbfs - ECHO_TAIL_DB * FRAME_S)
        echo_dbfs = self._echo_of_dbfs + self.coupling_db
        is_near = near_dbfs > echo_dbfs + NEAR_ABOVE_ECHO_DB
        if far_dbfs > max(SPEECH_DBFS, self._echo_of_dbfs - LOUD_DB):
            self._learn(near_dbfs - self._echo_of_dbfs, COUPLING_NEAR_DB if is_near else COUPLING_DB)
        return DUCK_GAIN if self._near.heard(near_dbfs if is_near else FLOOR_DBFS) else 1.0

    def _learn(self, difference_db: float, db_a_second: float) -> None:
        step_db, most_db = difference_db - self.coupling_db, db_a_second * FRAME_S
        self.coupling_db += max(-most_db, min(most_db, step_db))
