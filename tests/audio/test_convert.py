"""Rates: as much goes in as comes out, at once, and the delay stays small."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio.convert import CaptureConverter, OtherRate, PlaybackConverter
from appliance.audio.pcm import F32
from appliance.ports import Samples
from tests.audio.sounds import tone

RATES_HZ = [8000, 16000, 22050, 32000, 44100, 96000]


class Pulled:
    """Plays a sound and remembers how much was asked for, and how often."""

    def __init__(self, sound: Samples) -> None:
        self.sound = sound
        self.total = 0
        self.pulls = 0

    def __call__(self, out: F32) -> None:
        out[:] = self.sound[self.total : self.total + out.size]
        self.total += out.size
        self.pulls += 1


@pytest.mark.parametrize("device_hz", RATES_HZ)
@pytest.mark.parametrize("frames", [100, 441, 1024])
def test_a_block_is_made_of_one_pull_and_no_more_than_it_plays(device_hz: int, frames: int) -> None:
    pulled = Pulled(tone(300, 30.0))
    converter = PlaybackConverter(device_hz=device_hz, rate_hz=48000, block_frames=frames, pull=pulled)
    out = np.zeros((frames, 1), np.int16)
    for _ in range(50):
        converter.fill(out)
    assert pulled.pulls <= 51, "a second pull in a row would find the mixer empty"
    assert pulled.total == pytest.approx(50 * frames * 48000 / device_hz, abs=48000 / device_hz * 4 + 4)


@pytest.mark.parametrize("device_hz", RATES_HZ)
def test_a_captured_block_comes_out_as_long_as_it_was(device_hz: int) -> None:
    block = device_hz // 100
    converter = CaptureConverter(device_hz=device_hz, rate_hz=48000, block_frames=block)
    total = 0
    for turn in range(1, 100):
        total += converter.convert(np.zeros((block, 1), np.int16)).size
        assert total == pytest.approx(turn * block * 48000 / device_hz, abs=2 * 48000 / device_hz + 2)


@pytest.mark.parametrize(("device_hz", "most_ms"), [(44100, 6), (16000, 15)])
def test_resampling_delays_by_a_few_milliseconds(device_hz: int, most_ms: float) -> None:
    """A click goes in at 100 ms; where it comes out says how long it took."""
    block = device_hz // 100
    converter = CaptureConverter(device_hz=device_hz, rate_hz=48000, block_frames=block)
    sound = np.zeros((30 * block, 1), np.int16)
    sound[10 * block] = 20000
    heard = np.concatenate([converter.convert(sound[i : i + block]).copy() for i in range(0, len(sound), block)])
    delay_ms = (int(np.argmax(np.abs(heard))) - 4800) / 48
    assert 0 <= delay_ms <= most_ms


def test_a_resampler_that_gives_nothing_becomes_silence() -> None:
    class Nothing:
        def set_io_ratio(self, *_rates: float) -> None: ...

        def resample_chunk(self, samples: F32) -> F32:
            return samples[:0]

    player = OtherRate(44100, 48000, 441, lambda out: out.fill(1000))
    out = np.full(441, 99, np.int16)
    for _ in range(3):
        player.fill(out, 1.0)
    assert out.any()
    player._engine = Nothing()
    for _ in range(2):
        player.fill(out, 1.0)
    assert not out.any()


@pytest.mark.parametrize("device_hz", [*RATES_HZ, 48000])
@pytest.mark.parametrize("speed", [0.99, 0.9997, 1.0003, 1.01])
def test_at_another_speed_so_much_more_is_taken(device_hz: int, speed: float) -> None:
    pulled = Pulled(tone(300, 4.0))
    block = device_hz // 100
    converter = PlaybackConverter(
        device_hz=device_hz, rate_hz=48000, block_frames=block, pull=pulled, speed=lambda: speed
    )
    out = np.zeros((block, 1), np.int16)
    converter.fill(out)
    begin = pulled.total
    for _ in range(300):
        converter.fill(out)
    assert pulled.total - begin == pytest.approx(300 * block * 48000 / device_hz * speed, abs=2 + 2 * 48000 / device_hz)
