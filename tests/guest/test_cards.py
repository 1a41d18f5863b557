"""Real ALSA cards: names, formats, missing, busy, pulled and put back."""

from __future__ import annotations

import pytest

from tests.guest.boot import Guest

pytestmark = pytest.mark.guest

INSIDE = "tests.guest.inside"


def test_every_card_is_listed_with_the_string_to_paste(guest: Guest) -> None:
    listed = {info["pcm"]: info for info in guest.call(f"{INSIDE}:listed")}
    cards = [
        f"plughw:CARD={card}{device}" for card in ("Loopback", "Loopback_1", "Loopback_2") for device in ("", ",DEV=1")
    ]
    assert [pcm for pcm in listed if pcm.startswith("plughw")] == [*cards, "plughw:CARD=Dummy"]
    assert listed["plughw:CARD=Dummy"]["card_index"] == 5
    assert listed["plughw:CARD=Dummy"]["input_channels"] > 0


@pytest.mark.parametrize(
    "name", ["plughw:CARD=Loopback_1", "hw:1,0", "Loopback_1", "loopback_1", "dummy", "plughw:5,0"]
)
def test_a_card_opens_by_any_of_its_names(guest: Guest, name: str) -> None:
    stream = guest.call(f"{INSIDE}:open_by", name=name, direction="output")
    assert stream["rate_hz"] == 48000
    assert 0 < stream["latency_s"] <= 0.03


def test_a_tone_goes_through_a_card_at_its_pitch_and_level(guest: Guest) -> None:
    heard = guest.call(
        f"{INSIDE}:tone_through", speaker="plughw:CARD=Loopback", microphone="plughw:CARD=Loopback,DEV=1", hz=1000
    )
    assert heard["hz"] == pytest.approx(1000, abs=2)
    assert heard["amplitude"] == pytest.approx(16000, rel=0.03)


def test_a_missing_card_is_named_with_what_is_there(guest: Guest) -> None:
    error = guest.call(f"{INSIDE}:open_failing", name="plughw:CARD=Loopbck_1", direction="input")
    assert error["kind"] == "DeviceMissing"
    assert 'did you mean "plughw:CARD=Loopback_1"?' in error["text"]


def test_a_held_card_is_busy_and_says_who_holds_it(guest: Guest) -> None:
    told = guest.call(f"{INSIDE}:held_by_arecord", pcm="hw:CARD=Loopback_2,DEV=1")
    assert told["error"]["kind"] == "DeviceBusy"
    assert any(f"arecord (pid {pid})" in told["error"]["text"] for pid in told["pids"])
    assert "arecord" in told["busy"]


def test_a_pulled_card_goes_silent_alone_and_comes_back_by_its_name(guest: Guest) -> None:
    story = guest.call(f"{INSIDE}:unplugged_and_back")
    assert not story["listed"]
    assert story["error"]["kind"] == "DeviceMissing"
    assert story["close_s"] < 0.3
    assert story["heard_again"] > 0


def test_hw_is_strict_and_plughw_converts(guest: Guest) -> None:
    assert (
        guest.call(f"{INSIDE}:open_spec", pcm="hw:CARD=Dummy", rate_hz=96000, channels=1)["kind"] == "FormatUnsupported"
    )
    assert guest.call(f"{INSIDE}:open_spec", pcm="plughw:CARD=Dummy", rate_hz=96000, channels=1)["kind"] == ""
