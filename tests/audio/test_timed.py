"""TimedFrames: as many samples as seconds, whatever the microphone's crystal says, and nothing lost on the way."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.timed import SPARE_S
from appliance.audio.varispeed import POINTS
from appliance.ports import Samples
from tests.audio.clocks import Conditions, HandClock, Talk, ramp
from tests.audio.sounds import FRAME, RATE_HZ, noise, roughness, tone
from tests.fakes.backend import FakeBackend, usb_card

LATE = POINTS // 2 + round(SPARE_S * RATE_HZ)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conditions", "off_ms"),
    [
        pytest.param(Conditions(), 0.02, id="a perfect crystal"),
        pytest.param(Conditions(device_ppm=lambda _: 300.0), 0.5, id="a fast crystal"),
        pytest.param(Conditions(device_ppm=lambda _: -300.0), 0.5, id="a slow crystal"),
        pytest.param(ramp(100, 60, 240), 1.0, id="a crystal that warms up and cools down"),
        pytest.param(Conditions(device_ppm=lambda _: 200.0, bunch=2), 0.5, id="callbacks in pairs"),
        pytest.param(Conditions(device_hz=44100, device_ppm=lambda _: 200.0), 0.5, id="a device at 44.1 kHz"),
        pytest.param(Conditions(block_ms=50, device_ppm=lambda _: -100.0), 0.5, id="blocks of 50 ms"),
    ],
)
def test_what_is_sent_keeps_time_and_nobody_hears_how(conditions: Conditions, off_ms: float) -> None:
    said = Talk(conditions).run(120, settle_s=90, every_s=3)
    assert said.off_ms < off_ms
    assert said.dropped == 0
    assert said.pitch_cents < 1
    assert said.distortion_db < -60
    assert said.judged == 10


@pytest.mark.slow
def test_a_microphone_of_another_rate_than_it_says_is_played_at_its_true_pitch_after_ten_seconds() -> None:
    said = Talk(Conditions(device_ppm=lambda _: -6250.0)).run(40, settle_s=10, every_s=1)
    assert said.pitch_cents < 1
    assert said.distortion_db < -60
    assert said.frames == pytest.approx(4000, abs=20), "10.8 cents too high, 25 frames would be missing"


class Station:
    """A microphone whose blocks come when a test says so."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.backend = FakeBackend([usb_card("Mic")])
        self.handler = AudioInputHandler(config=AudioConfig(), backend=self.backend, clock=self.clock)
        self.handler.open()

    def hear(self, sound: Samples, *, overflowed: bool = False) -> None:
        for begin in range(0, sound.size, FRAME):
            self.clock.now_s += 0.01
            self.backend.feed("Mic", sound[begin : begin + FRAME, np.newaxis], overflowed=overflowed and not begin)

    def sent(self) -> Samples:
        frames, frame = [np.zeros(0, np.int16)], np.zeros(FRAME, np.int16)
        while self.handler.timed.take(frame):
            frames.append(frame.copy())
        return np.concatenate(frames)


def test_of_a_punctual_microphone_every_sample_leaves_as_it_came_less_than_a_millisecond_later() -> None:
    station, sound = Station(), noise(1, 100 * FRAME, 32767)
    pieces = []
    for begin in range(0, sound.size, FRAME):
        station.hear(sound[begin : begin + FRAME])
        pieces.append(station.sent())
        assert pieces[-1].size == FRAME, "each block gives its frame at once"
    sent = np.concatenate(pieces)
    assert np.max(np.abs(sent[LATE:].astype(int) - sound[:-LATE])) <= 1
    assert LATE / RATE_HZ < 0.001


def test_a_frame_says_when_its_sound_came_into_the_microphone() -> None:
    station = Station()
    opened_s = station.clock.now_s
    for number in range(1, 300):
        station.hear(np.zeros(FRAME, np.int16))
        assert station.sent().size == FRAME
        block_came_s = opened_s + 0.01 * (number - 1)  # the fake's time stamps: a block ago
        assert station.handler.timed.heard_at_s == pytest.approx(block_came_s - LATE / RATE_HZ, abs=1e-5)


def test_what_is_left_of_before_a_pause_is_forgotten_and_delays_nothing() -> None:
    station = Station()
    station.hear(noise(1, 10 * FRAME))
    station.sent()
    station.handler.frames.write(noise(2, 300))  # as a fast crystal leaves it there for a minute
    station.handler.close()
    station.clock.now_s += 0.5
    station.handler.open()
    sound = noise(3, 10 * FRAME)
    for begin in range(0, sound.size, FRAME):
        station.hear(sound[begin : begin + FRAME])
        assert station.sent().size == FRAME
    assert station.handler.frames.fill <= LATE


def test_a_new_listener_waits_for_nothing_old_and_what_was_old_is_no_drift() -> None:
    station = Station()
    for _ in range(300):
        station.hear(noise(1, FRAME))
        station.sent()
    station.handler.frames.write(noise(2, 100))
    station.handler.timed.set_wakeup(lambda: None)
    assert station.sent().size == 0
    for _ in range(500):
        station.hear(noise(3, FRAME))
        assert station.sent().size == FRAME
    assert station.handler.frames.fill <= LATE
    assert abs(station.handler.timed.drift_ppm) < 1.0


def test_sound_that_was_lost_is_no_reason_to_hurry() -> None:
    """7 ms are gone: what follows is that much later, and stays it; nothing is stretched to make up for them."""
    station, wave = Station(), tone(300, 6.0)
    for begin in range(0, 2 * RATE_HZ, FRAME):
        station.hear(wave[begin : begin + FRAME])
        station.sent()
    station.clock.now_s += 0.007
    speeds, pieces = [], []
    for begin in range(2 * RATE_HZ, wave.size - FRAME, FRAME):
        station.hear(wave[begin + 336 : begin + 336 + FRAME], overflowed=begin == 2 * RATE_HZ)
        pieces.append(station.sent())
        speeds.append(station.handler.timed.drift_ppm)
    assert max(map(abs, speeds)) < 1.0
    assert sum(piece.size for piece in pieces) == len(pieces) * FRAME


def test_a_loop_that_comes_late_gets_all_that_waits_at_once_and_no_click() -> None:
    station, wave = Station(), tone(300, 1.0)
    pieces = []
    for begin in range(0, wave.size, FRAME):
        station.hear(wave[begin : begin + FRAME])
        if not 20 * FRAME <= begin < 27 * FRAME:
            pieces.append(station.sent())
    sent = np.concatenate(pieces)
    assert sent.size == 100 * FRAME
    assert roughness(sent[LATE:]) < 2 * roughness(wave)
