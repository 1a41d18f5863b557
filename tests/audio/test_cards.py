"""What the driver of a USB card tells of its formats."""

from __future__ import annotations

from dataclasses import replace

from appliance.audio.alsa import USUAL_RATES_HZ
from appliance.audio.cards import CardDevice, Plugging

HEADSET = """Example Headset at usb-0000:01:00.0-1.2, full speed : USB Audio

Playback:
  Status: Stop
  Interface 2
    Altset 1
    Format: S16_LE
    Channels: 2
    Rates: 48000, 44100
Capture:
  Status: Stop
  Interface 1
    Altset 1
    Format: S16_LE
    Channels: 1
    Rates: 16000
"""

DEVICE = CardDevice(
    card_id="Headset",
    card_index=1,
    name="Example Headset",
    number=0,
    captures=True,
    plays=True,
    told=HEADSET,
    plugged=Plugging(1, 0, 1),
    holders=(),
)


def test_channels_are_told_for_each_direction() -> None:
    assert (DEVICE.channels("Capture"), DEVICE.channels("Playback")) == (1, 2)


def test_rates_of_both_directions_are_told_together() -> None:
    assert DEVICE.rates_hz(USUAL_RATES_HZ) == (16000, 44100, 48000)


def test_a_range_of_rates_means_the_usual_ones_in_it() -> None:
    ranged = replace(DEVICE, told="Capture:\n    Channels: 1\n    Rates: 8000 - 24000 (continuous)\n")
    assert ranged.rates_hz(USUAL_RATES_HZ) == (8000, 11025, 16000, 22050, 24000)


def test_a_card_that_tells_nothing_is_not_guessed_at() -> None:
    silent = replace(DEVICE, told="")
    assert silent.rates_hz(USUAL_RATES_HZ) == ()
    assert silent.channels("Capture") == 0


def test_the_first_device_needs_no_number() -> None:
    assert (DEVICE.suffix, replace(DEVICE, number=2).suffix) == ("", ",DEV=2")
