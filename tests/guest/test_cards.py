"""Real ALSA cards: names, missing, busy, pulled and put back elsewhere, slow to start."""

from __future__ import annotations

import pytest

from tests.guest.boot import Guest

pytestmark = [pytest.mark.guest, pytest.mark.slow]

INSIDE = "tests.guest.inside"
CARDS = "tests.guest.inside_cards"


def test_every_card_is_listed_with_the_string_to_paste_and_what_it_does(guest: Guest) -> None:
    listed = {info["pcm"]: info for info in guest.call(f"{INSIDE}:listed")}
    loops = ("Loopback", "Kitchen", "Porch", "Garden")
    cards = [f"plughw:CARD={card}{device}" for card in loops for device in ("", ",DEV=1")]
    assert [pcm for pcm in listed if pcm.startswith("plughw")] == [*cards, "plughw:CARD=Dummy"]
    dummy = listed["plughw:CARD=Dummy"]
    assert (dummy["card_index"], dummy["input_channels"], dummy["output_channels"]) == (5, 2, 2)
    assert dummy["rates_hz"][-1] == 48000
    assert listed["plughw:CARD=Kitchen"]["rates_hz"][-1] == 192000


def test_a_card_opens_by_any_of_its_names(guest: Guest) -> None:
    names = ["plughw:CARD=Kitchen", "hw:1,0", "Kitchen", "kitchen", "dummy", "plughw:5,0"]
    streams = guest.call(f"{INSIDE}:open_each", names=names, direction="output")
    for name, stream in streams.items():
        assert stream["rate_hz"] == 48000, name
        assert 0 < stream["latency_s"] <= 0.03, name


def test_a_missing_card_is_named_with_what_is_there(guest: Guest) -> None:
    error = guest.call(f"{INSIDE}:open_failing", name="plughw:CARD=Kitchn", direction="input")
    assert error["kind"] == "DeviceMissing"
    assert 'did you mean "plughw:CARD=Kitchen"?' in error["text"]


def test_a_held_card_is_busy_and_says_who_holds_it(guest: Guest) -> None:
    told = guest.call(f"{CARDS}:held_by_arecord", pcm="hw:CARD=Porch,DEV=1")
    assert told["error"]["kind"] == "DeviceBusy"
    assert any(f"arecord (pid {pid})" in told["error"]["text"] for pid in told["pids"])
    assert "arecord" in told["busy"]


def test_nobody_is_told_that_he_holds_a_card_himself(guest: Guest) -> None:
    assert guest.call(f"{CARDS}:held_by_ourselves")["own"] == ""


def test_a_pulled_card_goes_silent_alone_and_comes_back_by_its_name(guest: Guest) -> None:
    story = guest.call(f"{CARDS}:unplugged_and_back")
    assert story["error"]["kind"] == "DeviceMissing"
    assert story["gone"] == [True, False, True]
    assert story["close_s"] < 0.3
    assert story["heard_again"] > 0
    assert story["printed"] == []


@pytest.mark.parametrize("name", ["Kitchen", "plughw:CARD=Kitchen,DEV=1"])
def test_a_card_that_comes_back_under_another_number_is_found_by_its_name(guest: Guest, name: str) -> None:
    story = guest.call(f"{CARDS}:put_back_elsewhere", name=name)
    assert (story["before"], story["after"]) == ([1, 2], [2, 1])
    assert story["held"] == ["Kitchen"]


def test_a_device_that_runs_only_on_a_longer_buffer_gets_one(guest: Guest) -> None:
    story = guest.call(f"{CARDS}:picky_about_its_buffer", period_frames=960)
    assert story["error"]["kind"] == ""
    assert story["period"] == [960]


def test_a_device_that_runs_on_no_buffer_is_given_up(guest: Guest) -> None:
    story = guest.call(f"{CARDS}:picky_about_its_buffer", period_frames=4096)
    assert story["error"]["kind"] == "DeviceLost"
    assert "delivers nothing" in story["error"]["text"]
    assert story["period"] == []


def test_hw_is_strict_and_plughw_converts(guest: Guest) -> None:
    refused = guest.call(f"{INSIDE}:open_spec", pcm="hw:CARD=Dummy", rate_hz=96000, channels=1)
    assert refused["kind"] == "FormatUnsupported"
    assert guest.call(f"{INSIDE}:open_spec", pcm="plughw:CARD=Dummy", rate_hz=96000, channels=1)["kind"] == ""


def test_a_format_that_the_device_refuses_is_never_asked_of_portaudio(guest: Guest) -> None:
    """It may crash when a step fails while another stream runs: its threads write their errors to one place."""
    printed = guest.call(f"{CARDS}:printed_by_portaudio")
    assert printed["refused"] == []
    assert any("Expression" in line for line in printed["surprised"]), "the look would not be seen to be missing"


def test_what_the_libraries_print_stays_off_standard_error_and_nothing_else_does(guest: Guest) -> None:
    told = guest.call(f"{CARDS}:chatter")
    assert told["error"]["kind"] == "FormatUnsupported"
    assert told["refused"] == []
    assert sorted(told["others"]) == sorted(told["written"])  # what was turned aside arrives a moment later
    assert told["closed"]["kind"] == "FormatUnsupported"
