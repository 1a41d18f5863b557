"""What the bench hears is what was done to the sound."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.crowd import APART_HZ, FIRST_HZ, LEVEL_DBFS
from tests.bench.heard import REACH_S, first_sound, listen, utterance
from tests.harness.signals import RATE_HZ, VOICES_HZ, Pcm, tone

SECONDS = 4.0
VOICE_HZ = VOICES_HZ[0]
SAID = np.tile(utterance(VOICE_HZ), 3)


def later(ms: float) -> Pcm:
    """What is heard when nothing goes wrong."""
    count = round(ms * RATE_HZ / 1000)
    return np.concatenate((SAID[-count:], SAID[:-count]))


@pytest.mark.parametrize("ms", [87.0, 640.0, 1700.0])
def test_each_mark_is_found_however_late(ms: float) -> None:
    heard = listen(SAID, later(ms), VOICE_HZ, SECONDS)
    assert [round(delay, 1) for _, delay in heard.marks] == [ms] * 2
    assert (heard.lost, heard.broken, heard.harness_broken) == (0, (), 0)
    assert heard.level_dbfs == pytest.approx(-18, abs=0.2)


def test_sixteen_others_are_neither_marks_nor_gaps() -> None:
    others = sum(tone(FIRST_HZ + APART_HZ * n, 6.0, LEVEL_DBFS).astype(np.float64) for n in range(16))
    ear = ((later(90) + others) / 6).astype(np.int16)
    heard = listen(SAID, ear, VOICE_HZ, SECONDS)
    assert (len(heard.marks), heard.lost, heard.broken) == (2, 0, ())


def test_a_gap_is_told_with_its_length_and_a_lost_frame_as_a_jump() -> None:
    ear = later(90).copy()
    ear[100_000:101_440] = 0
    ear = np.concatenate((ear[:150_000], ear[150_480:], np.zeros(480, np.int16)))
    heard = listen(SAID, ear, VOICE_HZ, SECONDS)
    assert [round(one.at_s, 1) for one in heard.gaps] == [2.1]
    assert heard.gaps[0].ms == pytest.approx(30, abs=10)
    assert len(heard.broken) == 2


def test_a_voice_that_broke_before_it_was_said_is_told_apart() -> None:
    mouth = SAID.copy()
    mouth[100_000:105_000] = 0
    assert listen(mouth, later(90), VOICE_HZ, SECONDS).harness_broken == 1


def test_marks_that_nobody_hears_are_lost() -> None:
    heard = listen(SAID, np.zeros_like(SAID), VOICE_HZ, SECONDS)
    assert (heard.marks, heard.lost) == ((), 2)
    assert SAID.size >= (SECONDS + REACH_S) * RATE_HZ


def test_sound_begins_where_silence_ends() -> None:
    assert first_sound(np.concatenate((np.zeros(500, np.int16), SAID))) in range(500, 505)
    assert first_sound(np.zeros(500, np.int16)) is None


def test_a_mark_is_found_under_a_tone_that_is_as_loud_as_a_shout() -> None:
    """The tone alone would hide it: what is said is looked at above the tones as well as what is heard."""
    shout = tone(VOICE_HZ, 6.0, -3.0).astype(np.float64)
    mouth = np.clip((SAID.astype(np.float64) - np.tile(tone(VOICE_HZ, 2.0, -18.0), 3)) * 0.25 + shout, -32768, 32767)
    mouth = mouth.astype(np.int16)
    heard = listen(mouth, np.roll(mouth, 4320), VOICE_HZ, SECONDS)
    assert [round(delay) for _, delay in heard.marks] == [90, 90]
