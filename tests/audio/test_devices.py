"""Which device a line of alto.yaml means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.audio.devices import as_json, render, resolve
from appliance.errors import DeviceAmbiguous, DeviceMissing
from appliance.ports import DeviceInfo, Direction
from tests.fakes.backend import usb_card

DEFAULT = DeviceInfo("default", "Default Audio Device", input_channels=2, output_channels=2, default=True)
JABRA = replace(usb_card("USB", "Jabra SPEAK 510 USB"), card_index=1)
HEADSET = replace(usb_card("Headset", "Plantronics Headset"), card_index=2)
HDMI = DeviceInfo("plughw:CARD=vc4hdmi", "vc4-hdmi", card_id="vc4hdmi", card_index=0, output_channels=8)
ALL = (DEFAULT, HDMI, JABRA, HEADSET)


@pytest.mark.parametrize(
    ("name", "pcm"),
    [
        (None, "default"),
        ("plughw:CARD=Headset", "plughw:CARD=Headset"),
        ("hw:2,0", "hw:2,0"),
        ("plughw:USB", "plughw:USB"),
        ("headset", "plughw:CARD=Headset"),
        ("jabra", "plughw:CARD=USB"),
        ("Plantronics Headset", "plughw:CARD=Headset"),
        ("plug:studio", "plug:studio"),
        ("dsnoop:CARD=USB", "dsnoop:CARD=USB"),
    ],
)
def test_a_device_is_found_by_any_of_its_names(name: str | None, pcm: str) -> None:
    assert resolve(name, Direction.INPUT, ALL).pcm == pcm


def test_an_id_means_the_same_card_wherever_the_kernel_counts_it() -> None:
    moved = (DEFAULT, replace(HEADSET, card_index=0), replace(JABRA, card_index=5))
    assert resolve("headset", Direction.INPUT, moved).card_id == "Headset"


def test_a_name_that_fits_two_cards_lists_them_both() -> None:
    twins = (JABRA, replace(JABRA, pcm="plughw:CARD=USB_1", card_id="USB_1"))
    with pytest.raises(DeviceAmbiguous, match="plughw:CARD=USB_1"):
        resolve("jabra", Direction.INPUT, twins)


def test_a_card_with_two_devices_means_its_first() -> None:
    second = replace(HEADSET, pcm="plughw:CARD=Headset,DEV=1")
    assert resolve("headset", Direction.OUTPUT, (second, HEADSET)) == HEADSET


PLAIN = DeviceInfo("garden_mic", "", input_channels=2, output_channels=2)
"""A PCM of asound.conf that nobody described."""


def test_a_pcm_without_a_description_is_meant_by_its_whole_name_only() -> None:
    assert resolve("garden_mic", Direction.INPUT, (*ALL, PLAIN)) == PLAIN
    with pytest.raises(DeviceMissing, match=r'seen:.*"garden_mic";'):
        resolve("garden", Direction.INPUT, (PLAIN,))


def test_a_typing_error_is_told_with_what_was_meant() -> None:
    with pytest.raises(DeviceMissing, match='did you mean "plughw:CARD=Headset"'):
        resolve("hedset", Direction.INPUT, ALL)


def test_an_absent_card_is_missing_and_not_passed_through() -> None:
    with pytest.raises(DeviceMissing, match="Jabra"):
        resolve("plughw:CARD=Gone", Direction.INPUT, ALL)


def test_a_speaker_named_as_microphone_says_what_it_is() -> None:
    with pytest.raises(DeviceMissing, match="playback only"):
        resolve("vc4-hdmi", Direction.INPUT, ALL)


def test_without_a_default_the_only_card_is_taken() -> None:
    assert resolve(None, Direction.INPUT, (HDMI, JABRA)) == JABRA


def test_a_default_wins_over_several_cards() -> None:
    assert resolve(None, Direction.INPUT, (JABRA, HEADSET, DEFAULT)) == DEFAULT
    with pytest.raises(DeviceAmbiguous):
        resolve(None, Direction.INPUT, (JABRA, HEADSET))


def test_no_device_at_all_says_where_to_look() -> None:
    with pytest.raises(DeviceMissing, match="group audio"):
        resolve(None, Direction.INPUT, ())
    assert "dtoverlay" in render(())


def test_the_table_shows_what_to_paste_and_who_holds_it() -> None:
    table = render((DEFAULT, replace(JABRA, busy="arecord (pid 7)")))
    assert "plughw:CARD=USB" in table
    assert "in use by arecord (pid 7)" in table
    assert as_json((JABRA,))[0]["pcm"] == "plughw:CARD=USB"
