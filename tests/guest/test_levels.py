"""A sound card's own volume, on the kernel's dummy card (which has eight of them)."""

from __future__ import annotations

import pytest

from tests.guest.boot import Guest

pytestmark = [pytest.mark.guest, pytest.mark.slow]

INSIDE = "tests.guest.inside_levels"


@pytest.mark.parametrize("direction", ["input", "output"])
def test_a_share_of_the_range_is_set_and_the_control_switched_on(guest: Guest, direction: str) -> None:
    for share in (70, 0, 100):
        told = guest.call(f"{INSIDE}:set_level", direction=direction, control="Mic", level=f"{share}%")
        least, most = told["range"]
        assert told["volume"] == round(least + share / 100 * (most - least))
        assert told["on"] is not False


def test_decibels_are_set_where_the_card_knows_them(guest: Guest) -> None:
    loud = guest.call(f"{INSIDE}:set_level", direction="output", control="Master", level="0dB")["volume"]
    soft = guest.call(f"{INSIDE}:set_level", direction="output", control="Master", level="-6dB")["volume"]
    assert soft < loud


def test_a_control_that_is_not_there_is_answered_with_those_that_are(guest: Guest) -> None:
    told = guest.call(f"{INSIDE}:refused", direction="input", control="Mice", level="70%")
    assert told["kind"] == "ControlMissing"
    assert "'Mice'" in told["message"]
    assert "Mic" in told["fix"].removeprefix("use one of: ").split(", ")


def test_a_level_that_the_card_does_not_have_is_answered_with_its_range(guest: Guest) -> None:
    told = guest.call(f"{INSIDE}:refused", direction="output", control="Master", level="+60dB")
    assert told["kind"] == "ControlMissing"
    assert "dB to" in told["message"]


def test_the_level_is_set_at_every_open(guest: Guest) -> None:
    first, moved, again = guest.call(f"{INSIDE}:set_at_each_open", control="Mic", level="80%", other="10%")
    assert first == again
    assert moved < first
