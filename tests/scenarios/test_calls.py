"""Calls as people have them: who hears whom, how loud, and not themselves. Real server, SDK, PortAudio, ALSA names."""

from __future__ import annotations

import pytest

from tests.harness.signals import VOICES_HZ
from tests.scenarios.conftest import Call, hears, settles, silent, steady

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

KITCHEN_HZ, PORCH_HZ, GARDEN_HZ, BOB_HZ, CHARLIE_HZ, *_ = VOICES_HZ


def test_two_stations_hear_each_other_and_not_themselves(call: Call) -> None:
    tape = call.tape()
    call.says("kitchen", KITCHEN_HZ)
    call.says("porch", PORCH_HZ)
    call.station("kitchen")
    call.station("porch")
    hears(tape, "kitchen", PORCH_HZ)
    hears(tape, "porch", KITCHEN_HZ)
    settles(tape, "kitchen", PORCH_HZ, -12)
    settles(tape, "porch", KITCHEN_HZ, -12)
    assert steady(tape, "kitchen", KITCHEN_HZ) < -60, "the kitchen hears itself"
    assert steady(tape, "porch", PORCH_HZ) < -60, "the porch hears itself"


def test_three_stations_hear_the_other_two_averaged(call: Call) -> None:
    tape = call.tape()
    voices = {"kitchen": KITCHEN_HZ, "porch": PORCH_HZ, "garden": GARDEN_HZ}
    for name, hz in voices.items():
        call.says(name, hz)
        call.station(name)
    pairs = [(name, other) for name in voices for other in voices if other != name]
    for name, other in pairs:
        hears(tape, name, voices[other])
    for name, other in pairs:
        settles(tape, name, voices[other], -18)
    for name in voices:
        assert steady(tape, name, voices[name]) < -60, f"{name} hears itself"


def test_a_client_that_is_not_ours_is_heard_and_hears(call: Call) -> None:
    tape = call.tape()
    call.says("kitchen", KITCHEN_HZ)
    station = call.station("kitchen")
    bob = call.peer("bob")
    bob.say(BOB_HZ)
    hears(tape, "kitchen", BOB_HZ)
    bob.wait_hears("kitchen", KITCHEN_HZ, 10.0)
    joined = station.wait_event("participant.joined", 5.0, identity="bob")
    assert joined["level"] == "info"
    bob.leave()
    station.wait_event("participant.left", 10.0, identity="bob")
    silent(tape, "kitchen", BOB_HZ)


def test_a_lone_speaker_is_as_loud_in_a_full_room(call: Call) -> None:
    """Silent participants must not make the one who speaks softer."""
    tape = call.tape()
    call.station("kitchen")
    bob = call.peer("bob")
    bob.say(BOB_HZ)
    hears(tape, "kitchen", BOB_HZ, above=-14)
    alone = steady(tape, "kitchen", BOB_HZ)
    for name in ("charlie", "dora", "emil"):
        call.peer(name).say(None)
    assert steady(tape, "kitchen", BOB_HZ) == pytest.approx(alone, abs=0.5)


def test_one_voice_stalls_and_the_others_go_on(call: Call) -> None:
    tape = call.tape()
    station = call.station("kitchen")
    bob, charlie = call.peer("bob"), call.peer("charlie")
    bob.say(BOB_HZ)
    charlie.say(CHARLIE_HZ)
    hears(tape, "kitchen", BOB_HZ)
    hears(tape, "kitchen", CHARLIE_HZ)
    bob.stall()
    silent(tape, "kitchen", BOB_HZ)
    assert steady(tape, "kitchen", CHARLIE_HZ) > -20
    charlie.freeze()
    silent(tape, "kitchen", CHARLIE_HZ)
    charlie.thaw()
    hears(tape, "kitchen", CHARLIE_HZ)
    assert not station.garbage


@pytest.mark.parametrize("block_ms", [5, 10, 20, 50])
def test_every_block_size_carries_a_call(call: Call, block_ms: int) -> None:
    tape = call.tape()
    call.says("kitchen", KITCHEN_HZ)
    call.station("kitchen", audio={"block_ms": block_ms, "playout_ms": max(20, block_ms)})
    bob = call.peer("bob")
    bob.say(BOB_HZ)
    hears(tape, "kitchen", BOB_HZ)
    bob.wait_hears("kitchen", KITCHEN_HZ, 10.0)


def test_a_listen_only_station_hears_and_publishes_nothing(call: Call) -> None:
    tape = call.tape()
    call.says("kitchen", KITCHEN_HZ)
    call.station("kitchen", audio={"input": {"enabled": False}})
    bob = call.peer("bob")
    bob.say(BOB_HZ)
    hears(tape, "kitchen", BOB_HZ)
    assert "kitchen" not in bob.levels((KITCHEN_HZ,))


def test_a_talk_only_station_is_heard_and_plays_nothing(call: Call) -> None:
    tape = call.tape()
    call.says("kitchen", KITCHEN_HZ)
    call.station("kitchen", audio={"output": {"enabled": False}})
    bob = call.peer("bob")
    bob.say(BOB_HZ)
    bob.wait_hears("kitchen", KITCHEN_HZ, 10.0)
    assert steady(tape, "kitchen", BOB_HZ) < -80
