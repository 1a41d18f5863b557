"""From a name to a running stream: which formats are tried, in which order, and what is said when none works."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.opening import COMMON_RATES_HZ, ladder, open_first
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
    latency_ms: float | None = None,
) -> AudioStream:
    return open_first(
        backend=backend,
        name=name,
        direction=direction,
        config=config or AudioConfig(),
        callback=silent,
        latency_ms=latency_ms,
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
    specs = ladder(replace(CARD, rates_hz=()), Direction.OUTPUT, AudioConfig(), None)
    assert tuple(dict.fromkeys(spec.rate_hz for spec in specs)) == COMMON_RATES_HZ


def test_a_microphone_array_is_tried_with_all_its_channels_last() -> None:
    array = DeviceInfo("plughw:CARD=Array", "Array", card_id="Array", input_channels=6, rates_hz=(16000,))
    specs = ladder(array, Direction.INPUT, AudioConfig(sample_rate=16000, samples_per_channel=160), None)
    assert [spec.channels for spec in specs] == [1, 2, 6]


@pytest.mark.parametrize(("latency_ms", "asked_s"), [(None, 0.02), (35.0, 0.035)])
def test_the_latency_is_two_blocks_unless_named(latency_ms: float | None, asked_s: float) -> None:
    backend = FakeBackend([CARD])
    open_card(backend, latency_ms=latency_ms)
    assert backend.opened[-1].latency_s == pytest.approx(asked_s)


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
