"""How long sound should wait, when to jump there, and when to play some again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from appliance.audio.pacing import Pacing, best_match
from tests.audio.sounds import FRAME, tone

MS = 48
TARGET_S = 0.015  # of 20 ms of playout delay: less the frame that is played, which came half a frame ago on average


def paced(playout_ms: float = 20) -> Pacing:
    return Pacing(rate_hz=48000, playout_ms=playout_ms)


def watched(pacing: Pacing, excess_ms: float, seconds: float) -> None:
    for _ in range(round(seconds * 100)):
        pacing.observe(pacing.target_s + excess_ms / 1000, FRAME)


@pytest.mark.parametrize("playout_ms", [10, 20, 200])
def test_sound_should_wait_for_what_is_collected_less_what_is_played(playout_ms: float) -> None:
    assert paced(playout_ms).target_s == pytest.approx((playout_ms - 5) / 1000)


@pytest.mark.parametrize(
    ("excess_ms", "jump_ms"), [(0, 0), (5, 0), (-5, 0), (6, 6), (-6, -6), (9, 9), (40, 10), (-40, -10)]
)
def test_a_little_is_left_to_the_rate_and_the_rest_is_jumped_ten_milliseconds_at_a_time(
    excess_ms: float, jump_ms: float
) -> None:
    pacing = paced()
    watched(pacing, excess_ms, 1.1)
    assert pacing.wanted() == pytest.approx(jump_ms * MS, abs=1)


def test_nothing_is_judged_before_one_frame_must_have_been_punctual() -> None:
    pacing = paced()
    watched(pacing, 40, 0.99)
    assert (pacing.wanted(), pacing.excess_s) == (0, None)
    watched(pacing, 40, 0.01)
    assert pacing.excess_s == pytest.approx(0.040)


def test_a_standing_excess_is_worked_off_in_small_jumps_with_pauses() -> None:
    pacing = paced()
    excess_ms, jumps = 25.0, []
    watched(pacing, excess_ms, 1.0)
    for frame in range(100):
        if jump := pacing.wanted():
            jumps.append((frame, jump // MS))
            excess_ms -= jump / MS
            pacing.jumped(jump)
        watched(pacing, excess_ms, 0.01)
    assert jumps == [(0, 10), (10, 10)], "and the last 5 ms are the rate's"


def test_patience_ends_after_half_a_second_without_a_quiet_spot() -> None:
    pacing = paced()
    watched(pacing, 40, 1.4)
    assert not pacing.impatient
    watched(pacing, 40, 0.1)
    assert pacing.impatient
    pacing.jumped(10 * MS)
    assert pacing.impatient, "the rest of the same excess does not wait again"
    pacing.restart(after_gap=True)
    assert not pacing.impatient


def test_a_jump_at_a_quiet_spot_makes_patient_again() -> None:
    pacing = paced()
    watched(pacing, 40, 1.4)
    pacing.jumped(10 * MS)
    watched(pacing, 30, 0.2)
    assert not pacing.impatient


def test_a_few_milliseconds_too_much_wait_for_a_quiet_spot_ten_times_as_long() -> None:
    pacing = paced()
    watched(pacing, 9, 5.9)
    assert pacing.wanted() == 9 * MS
    assert not pacing.impatient
    watched(pacing, 9, 0.2)
    assert pacing.impatient


# ---- late frames


def seconds_pass(pacing: Pacing, seconds: int, late_s: float = 0.001) -> None:
    for _ in range(seconds):
        pacing.look(late_s, 1.0)


def test_late_once_is_answered_by_nothing() -> None:
    pacing = paced()
    for _ in range(5):
        seconds_pass(pacing, 1, late_s=0.045)
        seconds_pass(pacing, 65)
    assert pacing.target_s == pytest.approx(TARGET_S)


def test_late_twice_in_a_minute_is_waited_for_from_then_on() -> None:
    pacing = paced()
    for late_s in (0.030, 0.045):
        seconds_pass(pacing, 1, late_s)
        seconds_pass(pacing, 20)
    assert pacing.target_s == pytest.approx(0.040), "what came twice is 30 ms, and a frame is played"
    assert pacing.playout == 45 * MS


def test_one_accident_that_two_windows_see_is_one() -> None:
    pacing = paced()
    seconds_pass(pacing, 2, late_s=0.030)
    assert pacing.target_s == pytest.approx(TARGET_S)


def test_what_is_later_than_any_wait_is_broken_elsewhere() -> None:
    pacing = paced()
    for _ in range(5):
        seconds_pass(pacing, 1, late_s=0.300)
        seconds_pass(pacing, 10)
    assert pacing.target_s == pytest.approx(TARGET_S)


def test_calm_brings_the_wait_back_slowly_enough_for_the_rate_to_follow() -> None:
    pacing = paced()
    for _ in range(2):
        seconds_pass(pacing, 1, late_s=0.030)
        seconds_pass(pacing, 20)
    waits = []
    for _ in range(1500):
        seconds_pass(pacing, 1)
        waits.append(pacing.target_s)
    assert max(before - after for before, after in pairwise(waits)) <= 0.000201
    assert waits[270] == pytest.approx(0.040), "five minutes of calm first"
    assert waits[-1] == pytest.approx(TARGET_S), "25 ms less take three times that"


def test_a_late_frame_that_shows_that_a_little_less_will_not_do_is_enough() -> None:
    pacing = trying_less()
    assert pacing.target_s == pytest.approx(0.045, abs=0.001), "ten milliseconds less after five minutes"
    seconds_pass(pacing, 1, late_s=0.043)
    assert pacing.target_s == pytest.approx(0.053)


def test_less_is_tried_half_as_often_after_it_did_not_do_until_it_does() -> None:
    pacing = trying_less()
    seconds_pass(pacing, 1, late_s=0.043)
    assert minutes_between_steps(pacing, 3) == [10, 10, 5]


def trying_less() -> Pacing:
    """Has waited for frames 45 ms late, and after five calm minutes for 10 ms less."""
    pacing = paced()
    for _ in range(2):
        seconds_pass(pacing, 1, late_s=0.045)
        seconds_pass(pacing, 20)
    seconds_pass(pacing, 400)
    return pacing


def minutes_between_steps(pacing: Pacing, steps: int) -> list[int]:
    """From now, or from the step before, until it begins to wait less."""
    begun_s, second, sinks = [0], 0, False
    while len(begun_s) <= steps:
        before_s = pacing.target_s
        seconds_pass(pacing, 1)
        second += 1
        if pacing.target_s < before_s and not sinks:
            begun_s.append(second)
        sinks = pacing.target_s < before_s
    return [round((after - before) / 60) for before, after in pairwise(begun_s)]


# ---- nothing left


def test_what_has_only_begun_and_is_all_gone_is_not_played_again() -> None:
    pacing = paced()
    assert pacing.bridge(480, 0) is None
    assert pacing.bridge(100, 380) == (240, 480)


def test_who_has_sounded_for_a_second_is_late_and_bridged_for_fifty_milliseconds() -> None:
    pacing = paced()
    watched(pacing, 0, 1.0)
    pieces = 0
    while span := pacing.bridge(480, 0):
        assert span == (480, 720)
        pacing.bridged(span[0])
        pacing.observe(0.0, FRAME)
        pieces += 1
    assert pieces == 7, "each piece played pays back a quarter"


# ---- alike


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
