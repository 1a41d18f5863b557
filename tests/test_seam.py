"""Missing sound never clicks: wherever the microphone's frames may fail, no sample stands far from the one before."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.clock import SystemClock
from appliance.network.capture import CapturePump
from appliance.ports import Samples
from appliance.seam import join, remember, tail_of
from tests.audio.sounds import FRAME, tone
from tests.fakes.backend import FakeBackend, usb_card
from tests.harness.vtime import LoopClock, run_jumping

HZ = 300.0
AMPLITUDE = 8000
RATE_HZ = 48_000
STEP = 2 * np.pi * HZ / RATE_HZ * AMPLITUDE
"""The sine's own largest step from one sample to the next."""
FADE_STEP = AMPLITUDE / (0.005 * RATE_HZ)
LARGEST = 2 * STEP + 2 * FADE_STEP + 2
"""Two waves that cross, each with its fade, and rounding; a cut would jump by up to 16000."""


def largest_step(samples: Samples) -> float:
    return float(np.abs(np.diff(samples.astype(float))).max())


@pytest.mark.parametrize("quarter", range(8))
def test_a_seam_steps_no_further_than_two_waves_that_cross(quarter: int) -> None:
    wave = tone(HZ, 0.1, amplitude=AMPLITUDE)
    tail = tail_of(RATE_HZ)
    before, after = wave[: FRAME + 20 * quarter], wave[2000:2480].copy()
    remember(before, tail)
    join(after, tail)
    assert largest_step(np.concatenate([before, after])) <= LARGEST
    assert np.array_equal(after[240:], wave[2240:2480]), "after the fade it is what it was"


def test_a_tail_is_the_end_of_many_short_pieces() -> None:
    tail, wave = tail_of(RATE_HZ), tone(HZ, 0.1)
    for begin in range(0, 960, 96):
        remember(wave[begin : begin + 96], tail)
    assert np.array_equal(tail, wave[720:960])
    nothing = np.zeros(0, np.int16)
    remember(nothing, tail)
    join(nothing, tail)
    assert np.array_equal(tail, wave[720:960])


@pytest.mark.parametrize("lost", [37, 480, 1003])
def test_sound_that_the_microphone_lost_leaves_no_click(lost: int) -> None:
    backend = FakeBackend([usb_card("Mic")])
    handler = AudioInputHandler(config=AudioConfig(), backend=backend, clock=SystemClock())
    handler.open()
    wave, heard, frame = tone(HZ, 0.2, amplitude=AMPLITUDE), [], np.zeros(FRAME, np.int16)
    for number in range(8):
        begin = number * FRAME + (lost if number >= 4 else 0)
        backend.feed("Mic", wave[begin : begin + FRAME, np.newaxis], overflowed=number == 4)
        assert handler.frames.take(frame)
        heard.append(frame.copy())
    handler.close()
    assert largest_step(np.concatenate(heard)) <= LARGEST


class Microphone:
    """Has frames when a test gives it some."""

    def __init__(self) -> None:
        self.frames: list[Samples] = []
        self.wake = lambda: None

    def take(self, out: Samples) -> bool:
        if not self.frames:
            return False
        np.copyto(out, self.frames.pop(0))
        return True

    def set_wakeup(self, wakeup: object) -> None:
        self.wake = wakeup if callable(wakeup) else lambda: None

    def give(self, samples: Samples) -> None:
        self.frames.append(samples)
        self.wake()


def sent(silent_s: float) -> Samples:
    """What the room hears of a microphone that stands still for a while, and misses 37 samples besides."""
    microphone, heard, wave = Microphone(), [], tone(HZ, 1.0, amplitude=AMPLITUDE)

    async def send(frame: Samples) -> None:
        heard.append(frame.copy())

    async def story() -> None:
        pump = CapturePump(
            frames=microphone, send=send, sample_rate=RATE_HZ, clock=LoopClock(), on_failure=lambda error: None
        )
        pump.start()
        again = 10 * FRAME + 37
        for begin in (*range(0, 10 * FRAME, FRAME), *range(again, 25 * FRAME, FRAME)):
            if begin == again:
                await asyncio.sleep(silent_s)
            microphone.give(wave[begin : begin + FRAME])
            await asyncio.sleep(0.01)
        await pump.close()

    run_jumping(story())
    return np.concatenate(heard)


def test_a_microphone_that_stops_and_comes_back_fades_out_and_in() -> None:
    heard = sent(0.3)
    quiet = np.flatnonzero(np.convolve(np.abs(heard), np.ones(480), "valid") == 0)
    assert quiet.size > 0.15 * RATE_HZ, "there was silence between"
    assert largest_step(heard) <= LARGEST
