"""A call's delay is measured while it runs, mark by mark."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest

from tests.harness.ear import Ear
from tests.harness.signals import RATE_HZ, Pcm, announcement

DELAY: Final = 5000  # samples, 104 ms


class GrowingTape:
    """A recording that has come as far as `frames`; the ear hears the mouth `DELAY` samples later."""

    def __init__(self, seconds: int) -> None:
        self.frames = 0
        self.said = np.tile(announcement(433), seconds)
        self.heard = np.concatenate((np.zeros(DELAY, np.int16), self.said[:-DELAY] // 2))

    def mouth(self, name: str, since_frame: int = 0) -> Pcm:
        assert name == "porch"
        return self.said[since_frame : self.frames]

    def ear(self, name: str, since_frame: int = 0) -> Pcm:
        assert name == "kitchen"
        return self.heard[since_frame : self.frames]

    def grow(self, ear: Ear, step: int) -> None:
        while self.frames < self.said.size:
            self.frames = min(self.said.size, self.frames + step)
            ear.update()


def make_ear(tape: GrowingTape) -> Ear:
    return Ear(tape, speaker="porch", listener="kitchen", voice_hz=433)


@pytest.mark.parametrize("step", [4_000, 47_999, 200_000])
def test_each_mark_counts_once_however_the_tape_grows(step: int) -> None:
    tape = GrowingTape(seconds=8)
    ear = make_ear(tape)
    tape.grow(ear, step)
    assert ear.delays_ms == pytest.approx([DELAY * 1000 / RATE_HZ] * 7, abs=0.05)
    assert (ear.lost, ear.heard) == (0, True)
    assert ear.level_dbfs == pytest.approx(-18, abs=0.5)
    assert "kitchen heard porch: 7 of 7 marks, mouth to ear p50 104 ms, p95 104 ms" in ear.summary()


def test_marks_on_a_seam_between_two_looks_count_once() -> None:
    tape = GrowingTape(seconds=8)
    for shift in (-1, 0, 1, 20):
        ear = make_ear(tape)
        ear._at = round(0.1 * RATE_HZ) + shift
        tape.frames = 0
        tape.grow(ear, 20_000)
        assert 6 <= len(ear.delays_ms) <= 8, f"shift {shift}: of 8 marks"


def test_marks_before_the_first_that_is_heard_are_not_lost_and_later_ones_are() -> None:
    tape = GrowingTape(seconds=10)
    tape.heard[: 2 * RATE_HZ] = 0
    tape.heard[5 * RATE_HZ : 8 * RATE_HZ] = 0
    ear = make_ear(tape)
    tape.grow(ear, 10_000)
    assert (len(ear.delays_ms), ear.lost) == (4, 3)
    assert not ear.heard


def test_an_ear_that_hears_nothing_says_so() -> None:
    tape = GrowingTape(seconds=3)
    tape.heard[:] = 0
    ear = make_ear(tape)
    tape.grow(ear, 10_000)
    assert not ear.heard
    assert ear.summary() == "kitchen did not hear porch"
