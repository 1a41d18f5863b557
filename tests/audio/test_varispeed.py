"""Varispeed: exact when nothing is to be done, clean when something is, and nothing allocated on the way."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio.pcm import F32
from appliance.audio.varispeed import POINTS, SPEED_MAX, Varispeed
from appliance.ports import Samples
from tests.audio.memory import memory
from tests.audio.sounds import amplitude_at, distortion_db, noise


class Endless:
    """Plays a sound without end, and counts what was taken."""

    def __init__(self, sound: Samples) -> None:
        self.sound = sound
        self.taken = 0

    def __call__(self, out: F32) -> None:
        out[:] = np.take(self.sound, np.arange(self.taken, self.taken + out.size), mode="wrap")
        self.taken += out.size


def sine(hz: int) -> Endless:
    return Endless(np.round(16000 * np.sin(2 * np.pi * hz * np.arange(48000) / 48000)).astype(np.int16))


def played(pull: Endless, speed: float, blocks: int, block: int = 480) -> Samples:
    player, pieces = Varispeed(pull), []
    for _ in range(blocks):
        out = np.zeros(block, np.int16)
        player.fill(out, speed)
        pieces.append(out)
    return np.concatenate(pieces)


@pytest.mark.parametrize("block", [1, 16, 441, 480, 512, 513, 2400])
def test_at_speed_one_every_sample_comes_out_as_it_was(block: int) -> None:
    sound = noise(1, 4800, 32767)
    heard = played(pull := Endless(sound), 1.0, 1 + min(1000, 4000 // block), block)
    assert np.array_equal(heard[POINTS // 2 :], sound[: heard.size - POINTS // 2]), "a third of a millisecond later"
    assert pull.taken == heard.size


@pytest.mark.parametrize(
    ("hz", "worst_db"), [(1033, -85), (8033, -85), (12033, -84), (16033, -82), (18033, -76), (19533, -74)]
)
@pytest.mark.parametrize("speed", [0.99375, 1.0000371, 1.0003])
def test_a_sine_stays_a_sine(hz: int, worst_db: float, speed: float) -> None:
    heard = played(sine(hz), speed, 40)[4800:]
    assert distortion_db(heard) < worst_db
    assert amplitude_at(heard[:9600], hz * speed) == pytest.approx(16000, rel=0.01)


@pytest.mark.parametrize("speed", [0.99, 0.9999, 1.0001, 1.01])
def test_so_much_faster_takes_so_much_more(speed: float) -> None:
    played(pull := sine(300), speed, 200)
    assert pull.taken == pytest.approx(200 * 480 * speed, abs=1)


def test_a_speed_that_changes_leaves_no_click() -> None:
    player, pieces = Varispeed(sine(1000)), []
    for block in range(100):
        out = np.zeros(480, np.int16)
        player.fill(out, 1.0 + 0.005 * np.sin(block / 5))
        pieces.append(out)
    heard = np.concatenate(pieces)[480:].astype(float)
    assert np.abs(np.diff(heard, 2)).max() < 1.03 * 16000 * (2 * np.pi * 1000 / 48000) ** 2


def test_a_speed_beyond_reason_is_held_at_its_bounds() -> None:
    for speed, bound in ((3.0, SPEED_MAX), (0.1, 1 / SPEED_MAX)):
        played(pull := sine(300), speed, 100)
        assert pull.taken == pytest.approx(48000 * bound, abs=1)


def test_steady_sound_stays_steady() -> None:
    heard = played(Endless(np.full(480, 30001, np.int16)), 1.0007, 50)[480:]
    assert set(heard.tolist()) == {30001}


def test_nothing_is_allocated_for_a_block() -> None:
    player, out = Varispeed(lambda samples: samples.fill(7)), np.zeros(480, np.int16)

    def turn(times: int) -> None:
        for _ in range(times):
            player.fill(out, 1.0003)

    stays, comes_and_goes = memory(turn)
    assert stays < 500, "nothing grows"
    assert comes_and_goes < 1920, "and no block (960 bytes, 1920 as floats) is made"
