"""Sample arithmetic with exact values."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from appliance.audio.pcm import (
    FLOOR_DBFS,
    GainRamp,
    LevelMeter,
    Scratch,
    checked_volume,
    count_clipped,
    mix_down,
    mix_up,
    peak_dbfs,
    rms_dbfs,
    store_int16,
    to_float32,
    to_int16,
)

EXACT = [
    (-1.5, -32768),
    (-1.0, -32767),
    (-0.5, -16384),  # -16383.5 rounds to the even neighbour
    (0.0, 0),
    (1e-5, 0),
    (2e-5, 1),
    (0.5, 16384),
    (1.0, 32767),
    (1.5, 32767),
    (math.inf, 32767),
    (-math.inf, -32768),
    (math.nan, 0),
]


@pytest.mark.parametrize(("unit", "expected"), EXACT)
def test_float_becomes_int16_exactly(unit: float, expected: int) -> None:
    assert to_int16(np.array([unit], np.float32)).tolist() == [expected]
    out = np.zeros(1, np.int16)
    assert to_int16(np.array([unit], np.float32), out) is out
    assert out.tolist() == [expected]


def test_conversion_leaves_its_input_alone() -> None:
    samples = np.array([0.25, math.nan], np.float32)
    to_int16(samples)
    assert samples[0] == 0.25
    assert math.isnan(samples[1])


def test_int16_passes_unchanged() -> None:
    samples = np.array([-32768, -1, 0, 32767], np.int16)
    assert to_int16(samples).tolist() == samples.tolist()
    out = np.zeros(4, np.int16)
    assert to_int16(samples, out).tolist() == samples.tolist()


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.int16, st.integers(0, 50)))
def test_int16_survives_the_way_to_float_and_back(samples: np.ndarray) -> None:
    assert to_int16(to_float32(samples)).tolist() == samples.tolist()


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)))
def test_no_float_overflows(samples: np.ndarray) -> None:
    """The nearest of ×32767, whatever comes: a wrap-around would be the loudest click there is."""
    with np.errstate(all="raise"):
        made = to_int16(samples).astype(float)
    wanted = np.clip(np.nan_to_num(samples.astype(float), nan=0.0, posinf=9.0, neginf=-9.0) * 32767, -32768, 32767)
    assert np.abs(made - wanted).max(initial=0) <= 0.51


def test_float32_of_full_scale_is_one() -> None:
    assert to_float32(np.array([32767, 0, -32767], np.int16)).tolist() == [1.0, 0.0, -1.0]


def test_scaled_floats_are_rounded_and_clipped() -> None:
    scaled = np.array([-40000, -1.6, 0.4, 1.6, 40000], np.float32)
    assert store_int16(scaled, np.zeros(5, np.int16)).tolist() == [-32768, -2, 0, 2, 32767]


def test_channels_are_averaged_down_and_copied_up() -> None:
    block = np.array([[100, 300], [32767, 32767], [-32768, -32768], [1000, 0]], np.int16)
    assert mix_down(block).tolist() == [200, 32767, -32768, 500]
    assert mix_down(block[:, :1]).tolist() == [100, 32767, -32768, 1000]
    array = np.array([[1000, 1, 2, 3, 4, 30000]], np.int16)
    assert mix_down(array).tolist() == [1000], "of a microphone array the first channel"
    out = np.zeros((2, 3), np.int16)
    assert mix_up(np.array([5, -6], np.int16), out).tolist() == [[5, 5, 5], [-6, -6, -6]]


def test_levels_in_dbfs() -> None:
    sine = np.round(32767 * np.sin(2 * np.pi * np.arange(4800) / 48)).astype(np.int16)
    assert rms_dbfs(sine) == pytest.approx(-3.01, abs=0.01)
    assert peak_dbfs(sine) == pytest.approx(0.0, abs=0.001)
    assert peak_dbfs(np.array([-32768], np.int16)) == 0.0
    assert rms_dbfs(np.full(100, 3277, np.int16)) == pytest.approx(-20.0, abs=0.01)
    nothing = np.zeros(10, np.int16)
    assert rms_dbfs(nothing) == peak_dbfs(nothing) == rms_dbfs(nothing[:0]) == peak_dbfs(nothing[:0]) == FLOOR_DBFS


def test_samples_at_a_rail_are_counted() -> None:
    assert count_clipped(np.array([32767, 32766, -32766, -32767, -32768], np.int16)) == 3


@pytest.mark.parametrize("volume", [-0.1, 4.1, math.nan, math.inf])
def test_a_volume_outside_its_range_is_refused(volume: float) -> None:
    with pytest.raises(ValueError, match="volume"):
        checked_volume(volume)


def test_a_gain_ramp_has_no_step_and_ends_on_its_target() -> None:
    samples = np.full(480, 1000, np.float32)
    GainRamp(480).apply(samples, 0.0, 2.0)
    assert samples[0] == pytest.approx(2000 / 480)
    assert samples[-1] == 2000.0
    assert np.abs(np.diff(samples)).max() < 5


def test_a_short_ramp_holds_its_target_afterwards() -> None:
    samples = np.full(480, 1000, np.float32)
    GainRamp(480).apply(samples, 1.0, 0.5, 100)
    assert samples[99] == 500.0
    assert (samples[99:] == 500.0).all()


def test_a_ramp_grows_with_the_block_and_takes_any_size() -> None:
    ramp = GainRamp(10)
    for size in (0, 1, 5, 1000):
        samples = np.ones(size, np.float32)
        ramp.apply(samples, 1.0, 0.25)
        assert size == 0 or samples[-1] == 0.25


def test_scratch_is_made_anew_only_for_a_longer_block() -> None:
    scratch = Scratch(np.float32, 10)
    first = scratch.get(10)
    assert scratch.get(5).base is first.base
    longer = scratch.get(20)
    assert longer.size == 20
    assert scratch.get(10).base is longer.base


def test_a_meter_tells_what_it_saw_since_the_reading_before() -> None:
    meter = LevelMeter()
    assert meter.take() == (FLOOR_DBFS, FLOOR_DBFS)
    meter.add(np.full(480, 3277, np.int16))
    meter.add(np.full(480, -32768, np.int16))
    level_dbfs, peak_dbfs = meter.take()
    assert level_dbfs == pytest.approx(-2.97, abs=0.01)
    assert peak_dbfs == 0.0
    assert meter.clipped == 480
    meter.add(np.zeros(480, np.int16))
    assert meter.take() == (FLOOR_DBFS, FLOOR_DBFS)


def test_a_meter_that_nobody_fed_repeats_itself() -> None:
    meter = LevelMeter()
    meter.add(np.full(480, 3277, np.int16))
    assert meter.take() == meter.take()
    meter.add(np.zeros(0, np.int16))
    assert meter.take()[0] == pytest.approx(-20.0, abs=0.01)


def test_a_meter_is_read_while_it_is_filled() -> None:
    """The tiny race costs at most the block in flight: the level is right all the same."""
    meter = LevelMeter()
    block = np.full(480, 3277, np.int16)
    feeder = threading.Thread(target=lambda: [meter.add(block) for _ in range(5000)])
    feeder.start()
    while feeder.is_alive():
        level_dbfs, _ = meter.take()
        assert level_dbfs in (FLOOR_DBFS, pytest.approx(-20.0, abs=0.01))
    feeder.join(5)
