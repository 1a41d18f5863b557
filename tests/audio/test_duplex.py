"""Taking turns, level by level: 10 ms each."""

from __future__ import annotations

from itertools import chain, repeat

import pytest

from appliance.audio.duplex import DUCK_GAIN, DUCK_HOLD_S, FRAME_S, HOLD_S, Ducking, HalfDuplex, Speech

QUIET, LOUD = -90.0, -25.0


def half(*levels: tuple[float, float]) -> list[float]:
    """The microphone's gain, frame by frame; (level of the far end, seconds)."""
    switch = HalfDuplex()
    return [switch.gain(level) for level in chain(*(repeat(level, round(s / FRAME_S)) for level, s in levels))]


def test_the_microphone_is_closed_with_the_very_first_frame_of_a_word() -> None:
    assert half((QUIET, 0.1), (LOUD, 0.1)) == [1.0] * 10 + [0.0] * 10


def test_the_microphone_opens_a_hold_time_after_the_last_word() -> None:
    hold = round(HOLD_S / FRAME_S)
    assert 0.1 <= HOLD_S <= 0.2
    assert half((LOUD, 0.1), (QUIET, 0.3))[10:] == [0.0] * (hold - 1) + [1.0] * (31 - hold)


def test_a_pause_inside_a_word_does_not_open_the_microphone() -> None:
    assert set(half((LOUD, 0.2), (QUIET, 0.1), (LOUD, 0.2), (QUIET, 0.1))) == {0.0}


def test_a_fan_at_the_far_end_does_not_close_the_microphone_for_good() -> None:
    gains = half((-45.0, 30.0))
    assert gains[0] == 0.0
    assert gains[-1] == 1.0
    assert half((-45.0, 30.0), (LOUD, 0.1))[-1] == 0.0, "a voice is told from it"


def test_a_quiet_line_is_nobody() -> None:
    assert not any(Speech(HOLD_S).heard(level) for level in (-120.0, QUIET, -60.0))


def duck(switch: Ducking, near_dbfs: float, far_dbfs: float, seconds: float) -> list[float]:
    return [switch.gain(near_dbfs, far_dbfs) for _ in range(round(seconds / FRAME_S))]


@pytest.mark.parametrize("coupling_db", [-30.0, -10.0, 5.0])
def test_the_echo_alone_ducks_nothing_once_it_is_known(coupling_db: float) -> None:
    switch = Ducking()
    duck(switch, LOUD + coupling_db, LOUD, 4.0)
    assert set(duck(switch, LOUD + coupling_db, LOUD, 1.0)) == {1.0}
    assert switch.coupling_db == pytest.approx(coupling_db, abs=0.5)


def test_a_voice_above_the_echo_ducks_at_once_and_for_a_hold_time_after() -> None:
    switch = Ducking()
    duck(switch, LOUD - 20, LOUD, 3.0)
    assert set(duck(switch, LOUD, LOUD, 0.5)) == {DUCK_GAIN}
    after = duck(switch, LOUD - 20, LOUD, 0.4)
    assert after.index(1.0) == round(DUCK_HOLD_S / FRAME_S) - 1
    assert set(after[after.index(1.0) :]) == {1.0}


def test_a_speaker_that_is_turned_up_is_found_out() -> None:
    switch = Ducking()
    duck(switch, LOUD - 20, LOUD, 3.0)
    assert duck(switch, LOUD - 5, LOUD, 1.0)[-1] == DUCK_GAIN, "it may be a voice"
    assert duck(switch, LOUD - 5, LOUD, 15.0)[-1] == 1.0
