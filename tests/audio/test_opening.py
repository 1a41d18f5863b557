"""From a name to a running stream: which formats are tried, in which order, and what is said when none works."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
import structlog.testing

from appliance.audio.config import AudioConfig, HardwareLevel
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.mixer import AudioMixer
from appliance.audio.opening import COMMON_RATES_HZ, ladder, open_first
from appliance.audio.output_handler import AudioOutputHandler
from appliance.clock import SystemClock
from appliance.errors import DeviceBusy, DeviceMissing, FormatUnsupported
from appliance.ports import AudioStream, Block, DeviceInfo, Direction
from tests.fakes.backend import FakeBackend, usb_card

CARD = usb_card("Device", rates_hz=(44100, 48000))


def silent(out: Block, underflowed: bool) -> None:
    out[:] = 0


def open_card(
    backend: FakeBackend,
    name: str | None = "Device",
    direction: Direction = Direction.OUTPUT,
    *,
    config: AudioConfig | None = None,
) -> AudioStream:
    return open_first(
        backend=backend,
        name=name,
        direction=direction,
        config=config or AudioConfig(),
        callback=silent,
    )


def test_the_rooms_own_format_is_tried_first() -> None:
    stream = open_card(FakeBackend([CARD]))
    assert (stream.pcm, stream.rate_hz, stream.channels) == ("plughw:CARD=Device", 48000, 1)


def test_a_stereo_only_device_is_opened_in_stereo_at_the_rooms_rate() -> None:
    backend = FakeBackend([CARD])
    backend.refuse("Device", channels=[1])
    stream = open_card(backend)
    assert (stream.rate_hz, stream.channels) == (48000, 2)


def test_a_device_without_the_rooms_rate_is_opened_at_its_own_with_blocks_as_long() -> None:
    backend = FakeBackend([usb_card("Device", rates_hz=(44100,))])
    backend.refuse("Device", rates=[48000])
    assert open_card(backend).rate_hz == 44100
    assert backend.opened[-1].block_frames == 441


def test_hw_gets_what_the_hardware_has() -> None:
    backend = FakeBackend([usb_card("Device", rates_hz=(16000,))])
    stream = open_card(backend, "hw:CARD=Device")
    assert (stream.pcm, stream.rate_hz, stream.channels) == ("hw:CARD=Device", 16000, 2)


def test_of_a_devices_own_rates_the_best_is_tried_first() -> None:
    backend = FakeBackend([usb_card("Device", rates_hz=(8000, 11025, 16000, 44100))])
    assert open_card(backend, "hw:CARD=Device").rate_hz == 44100


def test_a_device_that_tells_no_rates_is_tried_at_the_common_ones() -> None:
    specs = ladder(replace(CARD, rates_hz=()), Direction.OUTPUT, AudioConfig())
    assert tuple(dict.fromkeys(spec.rate_hz for spec in specs)) == COMMON_RATES_HZ


def test_a_microphone_array_is_tried_with_all_its_channels_last() -> None:
    array = DeviceInfo("plughw:CARD=Array", "Array", card_id="Array", input_channels=6, rates_hz=(16000,))
    specs = ladder(array, Direction.INPUT, AudioConfig(sample_rate=16000, samples_per_channel=160))
    assert [spec.channels for spec in specs] == [1, 2, 6]


@pytest.mark.parametrize(("latency_ms", "asked_s"), [(None, 0.02), (35.0, 0.035)])
def test_the_latency_is_two_blocks_unless_named(latency_ms: float | None, asked_s: float) -> None:
    backend = FakeBackend([CARD])
    open_card(backend, config=AudioConfig(output_latency_ms=latency_ms))
    assert backend.opened[-1].latency_s == pytest.approx(asked_s)


def test_the_speaker_may_have_shorter_blocks() -> None:
    config = AudioConfig(samples_per_channel=480, output_samples_per_channel=240)
    inp, out = (ladder(CARD, way, config)[0] for way in (Direction.INPUT, Direction.OUTPUT))
    assert (inp.block_frames, inp.latency_s) == (480, pytest.approx(0.02))
    assert (out.block_frames, out.latency_s) == (240, pytest.approx(0.015)), "10 ms are too few for a busy machine"


def test_a_device_that_refuses_everything_says_what_was_tried_and_what_to_do() -> None:
    backend = FakeBackend([CARD])
    backend.refuse("Device", channels=[1, 2])
    with pytest.raises(FormatUnsupported, match=r"44100 Hz, 48000 Hz.*plughw:.*it says: 44100, 48000 Hz, 1 in, 2 out"):
        open_card(backend)
    assert backend.streams == ()


def test_a_busy_device_is_not_tried_in_other_formats() -> None:
    backend = FakeBackend([CARD])
    backend.fail_next(Direction.OUTPUT, DeviceBusy("held"))  # a second try would succeed
    with pytest.raises(DeviceBusy, match="held"):
        open_card(backend)
    assert backend.opened == []


def test_a_name_that_fits_nothing_opens_nothing() -> None:
    backend = FakeBackend([CARD])
    with pytest.raises(DeviceMissing, match="Devcie"):
        open_card(backend, "Devcie")
    assert backend.opened == []


def test_a_card_under_another_index_is_found_by_its_id() -> None:
    backend = FakeBackend([CARD])
    backend.unplug("Device")
    backend.plug(usb_card("Other"), index=0)
    backend.plug(CARD, index=3)
    assert open_card(backend, "hw:3,0").pcm == "hw:3,0"
    assert open_card(backend, "Device", Direction.INPUT).pcm == "plughw:CARD=Device"


def test_the_cards_own_volume_is_set_at_every_open() -> None:
    backend = FakeBackend([CARD])
    levels = backend.controls[(CARD.pcm, Direction.OUTPUT)] = {"Speaker": "20%"}
    speaker = AudioOutputHandler(
        config=AudioConfig(output_device="Device", output_control=HardwareLevel("Speaker", "70%")),
        backend=backend,
        clock=SystemClock(),
        source=AudioMixer(),
    )
    with contextlib.closing(speaker):
        speaker.open()
        assert levels == {"Speaker": "70%"}
        levels["Speaker"] = "10%"
        speaker.open()
        assert levels == {"Speaker": "70%"}


def test_a_volume_that_cannot_be_set_is_told_and_the_sound_goes_on() -> None:
    backend = FakeBackend([CARD])
    backend.controls[(CARD.pcm, Direction.INPUT)] = {"Mic": "20%", "Line": "20%"}
    wanted = HardwareLevel("Mice", "70%")
    microphone = AudioInputHandler(
        config=AudioConfig(input_device="Device", input_control=wanted), backend=backend, clock=SystemClock()
    )
    with contextlib.closing(microphone), structlog.testing.capture_logs() as lines:
        microphone.open()
        assert microphone.stream is not None
    assert [line["event"] for line in lines] == ["audio.level_failed"]
    assert "Mic, Line" in lines[0]["fix"]
