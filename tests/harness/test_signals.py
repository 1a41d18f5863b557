"""The measuring tools measure what they say."""

from __future__ import annotations

import numpy as np
import pytest

from tests.harness.signals import (
    RATE_HZ,
    SILENCE_DBFS,
    VOICES_HZ,
    Pcm,
    announcement,
    chirp,
    defects,
    delays,
    find_marks,
    level_dbfs,
    levels_dbfs,
    rms_dbfs,
    tone,
    usual_level_dbfs,
)


@pytest.mark.parametrize("level", [-40.0, -12.0, -1.0])
def test_the_level_of_a_tone_is_what_it_was_made_with(level: float) -> None:
    assert level_dbfs(tone(1033, 0.5, level), 1033) == pytest.approx(level, abs=0.05)
    assert rms_dbfs(tone(1033, 0.5, level)) == pytest.approx(level, abs=0.05)


def test_each_voice_is_told_apart_from_all_others_at_once() -> None:
    mix = sum((tone(f, 0.5, -30).astype(int) for f in VOICES_HZ[:3]), np.zeros(RATE_HZ // 2, int)).astype(np.int16)
    levels = levels_dbfs(mix, VOICES_HZ)
    assert [levels[f] for f in VOICES_HZ[:3]] == pytest.approx([-30, -30, -30], abs=0.1)
    assert max(levels[f] for f in VOICES_HZ[3:]) < -80


def test_the_usual_level_is_not_fooled_by_a_jump() -> None:
    jumped = np.delete(tone(1033, 1.0), slice(20_000, 20_480))
    assert level_dbfs(jumped, 1033) < -13
    assert usual_level_dbfs(jumped, 1033) == pytest.approx(-12, abs=0.1)
    assert usual_level_dbfs(jumped[:100], 1033) == SILENCE_DBFS


def test_silence_has_a_level_too() -> None:
    assert level_dbfs(np.zeros(4800, np.int16), 1033) == SILENCE_DBFS
    assert level_dbfs(np.zeros(0, np.int16), 1033) == rms_dbfs(np.zeros(0, np.int16)) == SILENCE_DBFS


def test_voices_have_no_whole_periods_in_ten_milliseconds() -> None:
    assert all(abs(f / 100 - round(f / 100)) > 0.1 for f in VOICES_HZ)


def test_a_delay_is_found_to_the_sample_in_noise_and_at_another_level() -> None:
    mouth = np.tile(announcement(1033), 4)
    noise = np.random.default_rng(1).normal(0, 300, mouth.size)
    ear = (np.concatenate((np.zeros(4567), mouth[:-4567] * 0.3)) + noise).astype(np.int16)
    found = delays(mouth, ear, chirp())
    assert found.lost == 0
    assert found.ms == pytest.approx([4567 / 48] * 3, abs=0.03)
    assert found.percentile(50) == pytest.approx(4567 / 48, abs=0.03)


def test_a_mark_that_nobody_heard_is_counted_as_lost() -> None:
    mouth = np.tile(announcement(1033), 4)
    ear = np.concatenate((np.zeros(4800, np.int16), mouth[:-4800]))
    ear[RATE_HZ : 2 * RATE_HZ] = 0
    found = delays(mouth, ear, chirp())
    assert (len(found.ms), found.lost) == (2, 1)


def test_marks_on_a_seam_of_the_search_are_found_once() -> None:
    samples = np.zeros(3 * RATE_HZ, np.int16)
    for at in (RATE_HZ - chirp().size // 2, 2 * RATE_HZ):
        samples[at : at + chirp().size] = chirp()
    assert find_marks(samples, chirp()) == [RATE_HZ - chirp().size // 2, 2 * RATE_HZ]


def test_a_steady_tone_has_no_defect_and_neither_have_silent_ends() -> None:
    steady = tone(1033, 2.0)
    quiet = np.zeros(RATE_HZ // 2, np.int16)
    assert defects(steady, 1033) == []
    assert defects(np.concatenate((quiet, steady, quiet)), 1033) == []
    assert defects(quiet, 1033) == []
    assert defects(np.zeros(10, np.int16), 1033) == []


def test_a_slow_drift_of_the_clock_is_no_defect() -> None:
    assert defects(tone(1033 * 1.0002, 12.0), 1033) == []


def test_a_lost_frame_is_a_jump_at_its_place() -> None:
    whole = tone(1033, 12.0)
    found = defects(np.delete(whole, slice(RATE_HZ * 11, RATE_HZ * 11 + 480)), 1033)
    assert [d.kind for d in found] == ["jump"]
    assert found[0].at_s == pytest.approx(11.0, abs=0.02)
    assert found[0].phase_turns == pytest.approx(0.33, abs=0.02)


@pytest.mark.parametrize("lost_samples", [2, 24, 240, 960])
def test_even_few_lost_samples_are_a_jump(lost_samples: int) -> None:
    whole = tone(1033, 2.0)
    assert len(defects(np.delete(whole, slice(50_000, 50_000 + lost_samples)), 1033)) == 1


@pytest.mark.parametrize("gap_ms", [10, 20, 60])
def test_a_gap_has_its_place_and_length(gap_ms: int) -> None:
    broken: Pcm = tone(1033, 2.0)
    broken[RATE_HZ : RATE_HZ + gap_ms * 48] = 0
    found = defects(broken, 1033)
    assert [d.kind for d in found] == ["gap"]
    assert found[0].at_s == pytest.approx(1.0, abs=0.02)
    assert found[0].length_ms == pytest.approx(gap_ms, abs=6)


def test_another_voice_in_the_mix_is_no_defect_of_this_one() -> None:
    mix = tone(1033, 2.0) // 2 + np.concatenate((np.zeros(48_000, np.int16), tone(2377, 1.0))) // 2
    assert defects(mix.astype(np.int16), 1033) == []
