"""What is known of the audio callbacks: how long they take, and how long nobody called."""

from __future__ import annotations

import random

import numpy as np
import pytest

from appliance.audio.callback import WINDOW_BLOCKS, CallbackMeter, Durations
from appliance.ports import Block
from tests.audio.clocks import HandClock

BLOCK = np.zeros((480, 1), np.int16)


def test_half_of_them_and_all_but_one_in_a_hundred_are_told_within_five_percent() -> None:
    durations, rng = Durations(), random.Random(1)
    sample = sorted(rng.lognormvariate(-8, 1) for _ in range(2000))
    for seconds in sample:
        durations.add(seconds)
    for share in (0.5, 0.99):
        assert durations.quantile_s(share) == pytest.approx(sample[round(2000 * share) - 1], rel=0.05)


def test_what_is_longer_ago_than_two_windows_is_forgotten() -> None:
    durations = Durations()
    for seconds in (0.05, 0.0001, 0.0001):
        for _ in range(WINDOW_BLOCKS):
            durations.add(seconds)
    assert durations.quantile_s(0.99) < 0.00011


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 5.0])
def test_no_duration_is_too_short_or_too_long_to_be_counted(seconds: float) -> None:
    durations = Durations()
    assert durations.quantile_s(0.5) == 0.0
    durations.add(seconds)
    assert durations.quantile_s(0.5) > 0


def test_the_longest_time_from_one_call_to_the_next_is_told_once() -> None:
    clock = HandClock()
    meter = CallbackMeter(clock)

    def work(_block: Block) -> None:
        clock.now_s += 0.002

    for pause_s in (0.008, 0.008, 0.038, 0.008):
        meter.run(work, BLOCK, False)
        clock.now_s += pause_s
    figures = meter.take_figures()
    assert figures["callback_gap_ms_max"] == 40.0
    assert figures["callback_ms_max"] == pytest.approx(2.0)
    assert figures["callback_ms_p50"] == pytest.approx(2.0, rel=0.05)
    assert meter.take_figures()["callback_gap_ms_max"] == 0.0


def test_the_time_without_a_device_is_no_time_between_calls() -> None:
    clock = HandClock()
    meter = CallbackMeter(clock)
    meter.run(lambda _block: None, BLOCK, False)
    clock.now_s += 60
    meter.opened(0.01, 0.02)
    meter.run(lambda _block: None, BLOCK, False)
    assert meter.take_figures()["callback_gap_ms_max"] == 0.0
    assert meter.last_block_at == clock.now_s


def test_a_call_is_late_when_the_devices_buffer_was_over_by_then() -> None:
    clock = HandClock()
    meter = CallbackMeter(clock)
    meter.opened(0.005, 0.02)
    for pause_s in (0.005, 0.020, 0.022, 0.023, 0.005):
        meter.run(lambda _block: None, BLOCK, False)
        clock.now_s += pause_s
    assert meter.take_figures()["late_calls"] == 1
