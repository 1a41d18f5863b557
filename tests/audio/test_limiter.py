"""Limiter: a ceiling without clicks and without pumping."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio.limiter import Limiter
from appliance.audio.pcm import F32, GainRamp
from tests.audio.sounds import FRAME, distortion_db, roughness, tone


def limited(limiter: Limiter, sound: F32) -> F32:
    out = sound.copy()
    for begin in range(0, len(out), FRAME):
        limiter.apply(out[begin : begin + FRAME])
    return out


def made() -> Limiter:
    return Limiter(48000, GainRamp(FRAME))


def test_what_stays_below_the_ceiling_passes_untouched() -> None:
    sound = tone(300, 0.1, amplitude=29000).astype(np.float32)
    assert np.array_equal(limited(made(), sound), sound)
    assert made().ceiling == pytest.approx(29205, abs=1)


def test_what_is_above_is_turned_down_not_cut_off() -> None:
    limiter = made()
    loud = limited(limiter, tone(300, 0.5, amplitude=90000 / 3).astype(np.float32) * 3)
    assert np.abs(loud).max() <= limiter.ceiling + 0.01
    settled = loud[FRAME:].round().astype(np.int16)
    assert roughness(settled) < 1.1 * roughness(tone(300, 0.1, amplitude=29205)), "still a sine"


@pytest.mark.parametrize("over_db", [-6, 3, 6, 12])
@pytest.mark.parametrize("hz", [50, 100, 300, 1033, 5003])
def test_a_sine_stays_a_sine_below_the_ceiling_and_far_above_it(hz: float, over_db: float) -> None:
    """1 % is −40 dB."""
    limiter = made()
    time_s = np.arange(48000) / 48000
    sine = (limiter.ceiling * 10 ** (over_db / 20) * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)
    heard = limited(limiter, sine)
    assert np.abs(heard).max() <= limiter.ceiling + 0.01
    assert distortion_db(np.round(heard[24000:]).astype(np.int16)) < -60


def test_loudness_comes_back_slowly_and_wholly() -> None:
    limiter = made()
    limited(limiter, np.full(FRAME, 58410, np.float32))
    assert limiter.gain == pytest.approx(0.5, abs=0.001)
    before = limiter.gain
    for _ in range(200):
        limited(limiter, np.full(FRAME, 1000, np.float32))
        assert limiter.gain - before < 0.03, "no pumping: less than 0.5 dB in 10 ms"
        before = limiter.gain
    assert limiter.gain == 1.0


def test_silence_and_nothing_are_no_trouble() -> None:
    limiter = made()
    assert not limited(limiter, np.zeros(FRAME, np.float32)).any()
    limiter.apply(np.zeros(0, np.float32))
    assert limiter.gain == 1.0
