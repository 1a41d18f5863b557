"""What the audio threads do ten thousand times a minute: without memory, without waiting, without a lock."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.mixer import AudioMixer
from appliance.audio.output_handler import AudioOutputHandler
from appliance.ports import DeviceInfo
from tests.audio.clocks import HandClock
from tests.audio.memory import memory
from tests.audio.sounds import FRAME, noise
from tests.fakes.backend import FakeBackend

BLOCK_BYTES = 480 * 2  # a block of 10 ms; as floats it is twice as much


def card(rate_hz: int) -> FakeBackend:
    return FakeBackend(
        [DeviceInfo("hw:0", "Box", card_id="Box", input_channels=2, output_channels=2, rates_hz=(rate_hz,))]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate_hz", "most"),
    [
        pytest.param(48000, 2.5 * BLOCK_BYTES, id="our rate: less than one array of floats and its wrappings"),
        pytest.param(44100, 12 * BLOCK_BYTES, id="another rate: soxr hands out new arrays"),
    ],
)
def test_playing_eight_voices_at_a_speed_of_its_own_needs_no_memory(rate_hz: int, most: float) -> None:
    clock = HandClock()
    mixer = AudioMixer(clock=clock)
    config = AudioConfig(output_device="hw:0")
    handler = AudioOutputHandler(config=config, backend=card(rate_hz), clock=clock, source=mixer)
    handler.open()
    handler.reference.wanted = True  # as with an echo canceller
    sounds = {f"s{index}": noise(index, FRAME) for index in range(8)}
    out = np.zeros((rate_hz // 100, 2), np.int16)

    def turn(times: int) -> None:
        for _ in range(times):
            for stream_id, sound in sounds.items():
                mixer.add_audio_data(sound, stream_id)
            clock.now_s += 0.0100007
            handler._audio_callback(out, False)

    stays, comes_and_goes = memory(turn)
    assert handler.get_metrics()["errors"] == mixer.errors == 0
    assert mixer.speed != 1.0
    assert stays < 500, "nothing grows"
    assert comes_and_goes < most


@pytest.mark.slow
def test_capturing_needs_no_memory() -> None:
    handler = AudioInputHandler(config=AudioConfig(input_device="hw:0"), backend=card(48000), clock=HandClock())
    handler.open()
    handler.set_volume(0.7)
    block = np.ascontiguousarray(np.stack([noise(1, FRAME), noise(2, FRAME)], axis=1))
    pcm = np.zeros(FRAME, np.int16)

    def turn(times: int) -> None:
        for _ in range(times):
            handler._audio_callback(block, False)
            handler.frames.take(pcm)

    stays, comes_and_goes = memory(turn)
    assert handler.get_metrics()["errors"] == 0
    assert stays < 500, "nothing grows"
    assert comes_and_goes < 2 * BLOCK_BYTES
