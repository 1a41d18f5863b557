"""AudioOutputHandler: what the loudspeaker plays of what the mixer has."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.mixer import AudioMixer
from appliance.audio.output_handler import AudioOutputHandler
from appliance.audio.varispeed import POINTS
from appliance.clock import SystemClock
from appliance.errors import DeviceMissing
from appliance.ports import Block, DeviceInfo, Samples
from tests.audio.clocks import HandClock
from tests.audio.sounds import FRAME, amplitude_at, distortion_db, noise, tone
from tests.fakes.backend import FakeBackend, FakeStream, usb_card

SPEAKER = usb_card("Box")
DELAY = FRAME + POINTS // 2  # of a played sound: what was collected before it began, and what keeps clocks together


def opened(
    config: AudioConfig | None = None, device: DeviceInfo = SPEAKER
) -> tuple[AudioOutputHandler, FakeBackend, AudioMixer]:
    backend = FakeBackend([device])
    mixer = AudioMixer(clock=HandClock())
    handler = AudioOutputHandler(config=config or AudioConfig(), backend=backend, clock=SystemClock(), source=mixer)
    handler.open()
    backend.pull("Box")  # a device asks as soon as it is open
    return handler, backend, mixer


def hardware(rate_hz: int, channels: int) -> tuple[AudioOutputHandler, FakeBackend, AudioMixer]:
    device = DeviceInfo("hw:CARD=Box", "Box", card_id="Box", output_channels=channels, rates_hz=(rate_hz,))
    return opened(AudioConfig(output_device="hw:CARD=Box"), device)


def frames_of(sound: Samples) -> Iterator[Samples]:
    return (sound[begin : begin + FRAME] for begin in range(0, len(sound), FRAME))


def play(backend: FakeBackend, mixer: AudioMixer, sound: Samples) -> Block:
    """Bob says `sound`, 10 ms at a time, and 5 ms after each the speaker asks for a block; so no clock differs."""
    played = []
    clock = mixer._clock
    assert isinstance(clock, HandClock)
    for frame in frames_of(sound):
        mixer.add_audio_data(frame, "bob")
        clock.now_s += 0.005
        played.append(backend.pull("Box"))
        clock.now_s += 0.005
    return np.concatenate(played)


def test_what_is_mixed_is_played_bit_by_bit() -> None:
    _, backend, mixer = opened()
    sound = noise(1, 9600)
    played = play(backend, mixer, sound)
    assert played.shape == (9600, 1)
    assert np.array_equal(played[2 * FRAME :, 0], sound[2 * FRAME - DELAY : -DELAY])


def test_a_stereo_speaker_plays_the_same_on_both_sides() -> None:
    handler, backend, mixer = hardware(48000, 2)
    sound = noise(1, 9600)
    played = play(backend, mixer, sound)
    assert handler.get_metrics()["channels"] == 2
    for side in (0, 1):
        assert np.array_equal(played[2 * FRAME :, side], sound[2 * FRAME - DELAY : -DELAY])


@pytest.mark.parametrize("rate_hz", [44100, 16000])
def test_a_speaker_at_another_rate_keeps_pitch_and_pace(rate_hz: int) -> None:
    handler, backend, mixer = hardware(rate_hz, 1)
    played = play(backend, mixer, tone(1000, 2.0))[:, 0]
    assert len(played) == 2 * rate_hz
    assert handler.get_metrics()["frames"] == len(played) + rate_hz // 100
    settled = played[rate_hz // 10 : -rate_hz // 10]
    assert amplitude_at(settled, 1000, rate_hz) == pytest.approx(8000, rel=0.01)
    assert distortion_db(settled[: rate_hz // 2], rate_hz) < -70, "no block boundary is heard"
    metrics = handler.get_metrics()
    assert (metrics["underruns"], metrics["errors"], metrics["rate_hz"]) == (0, 0, rate_hz)


@pytest.mark.parametrize("frames", [1, 100, 441, 1024, 5000])
@pytest.mark.parametrize("rate_hz", [48000, 44100])
def test_any_number_of_frames_that_the_device_asks_for_is_filled(frames: int, rate_hz: int) -> None:
    handler, backend, mixer = hardware(rate_hz, 2)
    for _ in range(12):
        mixer.add_audio_data(np.full(FRAME, 1000, np.int16), "bob")
    backend.pull("Box", 2400)
    played = backend.pull("Box", frames)
    assert played.shape == (frames, 2)
    assert set(played.ravel().tolist()) <= set(range(-200, 1300)), "nothing is left as the device gave it"
    assert handler.get_metrics()["errors"] == 0


def test_underruns_of_the_mixer_and_of_the_device_are_told_apart() -> None:
    handler, backend, mixer = opened()
    backend.pull("Box", underflowed=True)
    assert (handler.get_metrics()["underruns"], handler.get_metrics()["xruns"]) == (0, 1)
    play(backend, mixer, noise(1, 4800))
    for _ in range(5):
        backend.pull("Box")
    assert (handler.get_metrics()["underruns"], handler.get_metrics()["xruns"]) == (4, 1)


def test_metrics_say_how_the_speaker_is_doing() -> None:
    handler, backend, mixer = opened(AudioConfig(output_latency_ms=30))
    before = time.monotonic()
    play(backend, mixer, tone(300, 0.5, amplitude=32767))
    assert handler.last_block_at is not None
    assert before <= handler.last_block_at <= time.monotonic()
    metrics = handler.get_metrics()
    assert metrics.pop("level_dbfs") == pytest.approx(-3, abs=0.3)
    assert metrics.pop("callback_ms_max") >= metrics.pop("callback_ms_p50") > 0  # type: ignore[operator]
    assert metrics.pop("callback_ms_p99") > 0  # type: ignore[operator]
    assert metrics.pop("callback_gap_ms_max") >= 0  # type: ignore[operator]
    assert metrics.pop("late_calls") >= 0  # type: ignore[operator]  # by a real clock
    assert metrics.pop("clipped") > 0  # type: ignore[operator]
    assert metrics == {
        "device": SPEAKER.pcm,
        "open": True,
        "frames": 24480,
        "blocks": 51,
        "underruns": 0,
        "xruns": 0,
        "peak_dbfs": 0.0,
        "rate_hz": 48000,
        "channels": 1,
        "latency_ms": 30.0,
        "early_calls": 0,
        "errors": 0,
    }


def test_a_device_that_asks_for_more_than_it_needs_waits_and_the_canceller_is_told_no_other_time() -> None:
    clock, waits, backend = HandClock(), [], FakeBackend([SPEAKER])

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now_s += seconds

    mixer = AudioMixer(clock=clock)
    handler = AudioOutputHandler(config=AudioConfig(), backend=backend, clock=clock, source=mixer, sleep=sleep)
    handler.open()
    handler.reference.wanted = True
    stream = handler.stream
    assert isinstance(stream, FakeStream)
    for block in range(200):
        backend.pull("Box")
        if block == 150:
            stream.overfull_s = 0.0098
            backend.pull("Box")  # at once again
            assert waits == pytest.approx([0.0098])
            stream.overfull_s = 0.0
            clock.now_s -= 0.0098
        clock.now_s += 0.01
    assert handler.get_metrics()["early_calls"] == 1
    assert handler.reference._clock.take_latest_s() < 0.001, "each block leaves when it would have left"


def test_a_speaker_that_comes_back_plays_what_is_said_now() -> None:
    """Nobody listened for five seconds: nothing of them is played, and nothing of them counts as lost."""
    handler, backend, mixer = opened()
    play(backend, mixer, noise(1, 4800))
    handler.close()
    assert handler.get_metrics()["open"] is False
    for frame in frames_of(noise(2, 5 * 48000)):
        mixer.add_audio_data(frame, "bob")
    handler.open()
    assert len(backend.streams) == 1
    assert not backend.pull("Box").any()
    sound = noise(3, 9600)
    played = play(backend, mixer, sound)
    assert np.array_equal(played[2 * FRAME :, 0], sound[2 * FRAME - DELAY : -DELAY])
    assert handler.get_metrics()["underruns"] == mixer.get_metrics()["dropped"] == 0


def test_a_missing_speaker_is_an_error_with_its_name() -> None:
    handler = AudioOutputHandler(
        config=AudioConfig(output_device="Box"), backend=FakeBackend([]), clock=SystemClock(), source=AudioMixer()
    )
    with pytest.raises(DeviceMissing):
        handler.open()
    assert handler.device == "Box"
    handler.close()


def test_blocks_asked_for_before_the_rate_is_known_are_silence() -> None:
    handler = AudioOutputHandler(
        config=AudioConfig(), backend=FakeBackend([SPEAKER]), clock=SystemClock(), source=AudioMixer()
    )
    out = np.full((480, 2), 99, np.int16)
    handler._audio_callback(out, False)
    assert not out.any()


def test_a_fault_in_the_callback_is_silence_and_a_number() -> None:
    class BrokenMixer(AudioMixer):
        def mix_into(self, out: Samples) -> None:
            raise ZeroDivisionError

    backend = FakeBackend([SPEAKER])
    handler = AudioOutputHandler(config=AudioConfig(), backend=backend, clock=SystemClock(), source=BrokenMixer())
    handler.open()
    assert not backend.pull("Box").any()
    assert handler.get_metrics()["errors"] == 1


def test_a_voice_sounds_at_the_description_s_block_of_50_ms_too() -> None:
    handler, backend, mixer = opened(AudioConfig(samples_per_channel=2400))
    sound = noise(1, 48000)
    played = []
    for begin in range(0, len(sound), 2400):
        for frame in frames_of(sound[begin : begin + 2400]):
            mixer.add_audio_data(frame, "bob")
        played.append(backend.pull("Box"))
    heard = np.concatenate(played)[:, 0]
    begin = int(np.flatnonzero(heard)[0]) // 2400 * 2400
    delay = begin + POINTS // 2
    assert np.array_equal(heard[delay + FRAME :], sound[FRAME : len(heard) - delay])
    assert handler.get_metrics()["underruns"] == 0


@pytest.mark.parametrize(("latency_ms", "late"), [(10.0, 1), (10.6, 0), (None, 0)])
def test_a_call_is_late_by_the_speakers_own_block_and_buffer(latency_ms: float | None, late: int) -> None:
    backend, clock = FakeBackend([SPEAKER]), HandClock()
    config = AudioConfig(
        samples_per_channel=480, output_samples_per_channel=240, output_latency_ms=latency_ms, input_latency_ms=1.0
    )
    handler = AudioOutputHandler(config=config, backend=backend, clock=clock, source=AudioMixer(clock=clock))
    handler.open()
    backend.pull("Box")
    clock.now_s += 0.013  # a buffer of 10 ms and half a block are 12.5
    backend.pull("Box")
    assert handler.get_metrics()["late_calls"] == late


def test_a_device_is_asked_to_hold_as_many_times_as_usual_as_was_said_before() -> None:
    handler, backend, _mixer = opened(AudioConfig())
    handler.latency_times = 2
    handler.open()
    assert [spec.latency_s for spec in backend.opened] == pytest.approx([0.02, 0.04])
