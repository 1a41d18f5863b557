"""The judge of the faults hears what is there, and dates it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.faults.judge import HOP_S, Judge, Way, sounding
from tests.harness.signals import RATE_HZ, VOICES_HZ, Pcm, tone

KITCHEN_HZ, PORCH_HZ, *_ = VOICES_HZ
WAYS = (Way("kitchen", "porch", KITCHEN_HZ), Way("porch", "kitchen", PORCH_HZ))


class Recorder:
    """A recording that a test makes, second by second, with a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.frames = 0
        self.kept = dict.fromkeys(("kitchen", "porch"), np.zeros(0, np.int16))
        self.forgotten = 0

    def hear(self, kitchen: float | None, porch: float | None, seconds: float) -> None:
        """What the two loudspeakers play next: a tone's frequency, or nothing."""
        for name, hz in (("kitchen", kitchen), ("porch", porch)):
            fresh = tone(hz, seconds) if hz else np.zeros(round(seconds * RATE_HZ), np.int16)
            self.kept[name] = np.concatenate((self.kept[name], fresh))
        self.frames += round(seconds * RATE_HZ)
        self.now_s += seconds

    def ear(self, name: str, since_frame: int = 0) -> Pcm:
        return self.kept[name][since_frame:]

    def forget(self, before_frame: int) -> None:
        self.forgotten = before_frame


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def judge(recorder: Recorder) -> Judge:
    return Judge(recorder, WAYS, now=lambda: recorder.now_s)


def test_a_tone_is_told_from_silence_and_from_every_other_voice() -> None:
    for voice_hz in VOICES_HZ:
        assert sounding(tone(voice_hz, 0.2, -12.0), voice_hz).all()
        assert not sounding(tone(voice_hz, 0.2, -40.0), voice_hz).any()
        others = sum((tone(hz, 0.2, -18.0).astype(np.float64) for hz in VOICES_HZ if hz != voice_hz), np.zeros(9600))
        assert not sounding(np.clip(others, -32768, 32767).astype(np.int16), voice_hz).any()


def test_a_gap_is_found_with_its_start_and_length(recorder: Recorder, judge: Judge) -> None:
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 2.0)
    judge.look()
    recorder.hear(PORCH_HZ, None, 1.5)
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 2.0)
    judge.look()
    (gap,) = judge.gaps(WAYS[0], 1000.0)
    assert (gap.from_s, gap.to_s) == pytest.approx((1002.0, 1003.5), abs=HOP_S)
    assert judge.gaps(WAYS[1], 1000.0) == []
    assert judge.steady_since(1001.0) == pytest.approx(1003.5, abs=HOP_S)
    assert judge.steady_since(1004.0) == 1004.0
    assert judge.steady_since(1003.4) == 1003.4  # what is left of the gap is too short for one
    assert judge.steady_since(1003.4, from_s=1001.0) == pytest.approx(1003.5, abs=HOP_S)
    assert recorder.forgotten == recorder.frames


def test_a_silence_that_goes_on_is_no_return(recorder: Recorder, judge: Judge) -> None:
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 1.0)
    recorder.hear(None, KITCHEN_HZ, 1.0)
    judge.look()
    assert judge.steady_since(1000.5) == pytest.approx(1002.0, abs=HOP_S)


def test_the_share_with_sound_counts_what_lies_in_the_span_only(recorder: Recorder, judge: Judge) -> None:
    recorder.hear(PORCH_HZ, None, 1.0)
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 3.0)
    judge.look()
    heard_s, looked_s = judge.heard_s(WAYS[0], 1000.5, 1002.5)
    assert (heard_s, looked_s) == pytest.approx((1.5, 2.0), abs=2 * HOP_S)


def test_a_late_look_dates_what_it_sees_by_the_sound_and_lost_sound_by_the_clock(
    recorder: Recorder, judge: Judge
) -> None:
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 1.0)
    judge.look()
    recorder.hear(None, KITCHEN_HZ, 0.5)
    recorder.now_s += 0.2  # the machine was busy
    judge.look()
    assert judge.judged_s == pytest.approx(1001.5, abs=HOP_S)
    recorder.now_s += 5.0  # nothing was recorded
    recorder.hear(PORCH_HZ, KITCHEN_HZ, 0.5)
    judge.look()
    assert judge.judged_s == pytest.approx(recorder.now_s, abs=HOP_S)
