"""When a jitter buffer is too full or nearly empty, and how far to jump."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audio.pacing import Levels, Pacing, best_match
from tests.audio.sounds import FRAME, tone

MS = 48
LEVELS = Levels.of(rate_hz=48000, playout_ms=20)


@pytest.mark.parametrize(
    ("lowest_ms", "jump_ms"),
    [(0, -10), (3.9, -6.1), (4, 0), (10, 0), (20, 0), (23.9, 0), (24, 9), (30, 15), (160, 145)],
)
def test_the_lowest_fill_of_two_seconds_decides(lowest_ms: float, jump_ms: float) -> None:
    assert LEVELS.judge(round(lowest_ms * MS)) == pytest.approx(jump_ms * MS, abs=1)


def test_the_least_delay_that_can_be_asked_for_is_not_stretched() -> None:
    least = Levels.of(rate_hz=48000, playout_ms=10)
    assert [least.judge(fill_ms * MS) for fill_ms in (0, 5, 10, 13)] == [0, 0, 0, 0]


@settings(max_examples=100, deadline=None)
@given(st.integers(10, 200), st.sampled_from([8000, 16000, 24000, 32000, 48000]), st.integers(0, 20000))
def test_a_jump_never_calls_for_the_opposite_one(playout_ms: int, rate_hz: int, lowest: int) -> None:
    levels = Levels.of(rate_hz=rate_hz, playout_ms=playout_ms)
    assert levels.judge(lowest - levels.judge(lowest)) == 0


def watched(pacing: Pacing, fill_ms: float, seconds: float) -> None:
    for _ in range(round(seconds * 100)):
        pacing.observe(round(fill_ms * MS), FRAME)


def test_one_low_moment_in_two_seconds_means_that_nothing_is_too_much() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    watched(pacing, 50, 1.9)
    watched(pacing, 10, 0.1)
    assert pacing.wanted() == 0


def test_a_standing_excess_is_worked_off_in_small_jumps_with_pauses() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    watched(pacing, 40, 2.0)
    assert pacing.pending == 25 * MS
    jumps = []
    for frame in range(100):
        if jump := pacing.wanted():
            jumps.append((frame, jump))
            pacing.jumped(jump)
        pacing.observe(15 * MS, FRAME)
    assert jumps == [(0, 10 * MS), (10, 10 * MS), (20, 5 * MS)]


def test_patience_ends_after_half_a_second_without_a_quiet_spot() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    watched(pacing, 40, 2.0)
    assert not pacing.impatient
    watched(pacing, 40, 0.5)
    assert pacing.impatient
    pacing.jumped(10 * MS)
    assert pacing.impatient, "the rest of the same excess does not wait again"
    pacing.restart()
    assert not pacing.impatient


def test_a_buffer_that_ran_dry_is_judged_anew() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    watched(pacing, 40, 2.0)
    pacing.restart()
    assert pacing.wanted() == 0


def running_dry(pacing: Pacing, times: int, apart_s: float) -> None:
    for _ in range(times):
        pacing.ran_dry()
        watched(pacing, 12, apart_s)


def test_running_dry_now_and_then_is_answered_by_nothing() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    running_dry(pacing, 5, apart_s=21)
    assert pacing.playout == 20 * MS


def test_running_dry_again_and_again_is_answered_by_collecting_more_up_to_a_limit() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    collected = []
    for _ in range(10):
        running_dry(pacing, 1, apart_s=5)
        collected.append(pacing.playout // MS)
    assert collected == [20, 30, 40, 50, 60, 70, 80, 80, 80, 80]


def test_calm_brings_the_delay_back_to_what_was_asked_for() -> None:
    pacing = Pacing(rate_hz=48000, playout_ms=20)
    running_dry(pacing, 3, apart_s=5)
    assert pacing.playout == 40 * MS
    watched(pacing, 35, 115)
    assert pacing.playout == 30 * MS
    watched(pacing, 35, 105)
    assert pacing.playout == 20 * MS
    assert pacing.wanted() > 0, "and what is too much now is taken out"


def test_the_best_match_is_where_the_wave_comes_again() -> None:
    wave = tone(300, 0.05).astype(np.float32)
    period = 160
    found = best_match(wave[:240], wave[50 : 50 + 480])
    assert (50 + found) % period == 0


def test_a_louder_piece_of_another_shape_is_no_match() -> None:
    soft = tone(300, 0.02, amplitude=1000).astype(np.float32)
    among = np.concatenate([tone(750, 0.01, amplitude=30000).astype(np.float32), soft])
    assert best_match(soft[:240], among) == pytest.approx(480, abs=20)


def test_silence_matches_anywhere() -> None:
    assert 0 <= best_match(np.zeros(240, np.float32), np.zeros(480, np.float32)) <= 240
