"""The client as a library, as the description uses it: three arguments, connect, volumes, metrics, disconnect."""

from __future__ import annotations

import asyncio

import pytest

from appliance.audio.config import AudioConfig
from appliance.orchestrator import AudioClientOrchestrator
from tests.harness.aio import run
from tests.harness.signals import VOICES_HZ
from tests.harness.wait import until
from tests.scenarios.conftest import Call, hears, silent, steady

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]

ALICE_HZ, BOB_HZ, CHARLIE_HZ, *_ = VOICES_HZ


def test_alice_hears_bob_louder_by_3_5_db_after_set_stream_volume(call: Call) -> None:
    tape = call.tape()
    bob, charlie = call.peer("bob"), call.peer("charlie")
    bob.say(BOB_HZ)
    charlie.say(CHARLIE_HZ)
    alice = call.sound.station("kitchen")
    config = AudioConfig(input_device=alice.mic_pcm, output_device=alice.speaker_pcm)
    token = call.server.token("alice", call.room)

    async def story() -> None:
        async with AudioClientOrchestrator(call.server.url, token, config) as orchestrator:
            await asyncio.to_thread(hears, tape, "kitchen", BOB_HZ)
            await asyncio.to_thread(hears, tape, "kitchen", CHARLIE_HZ)
            flat = await asyncio.to_thread(_levels, call)
            orchestrator.set_stream_volume("bob", 1.5)
            orchestrator.set_stream_volume("charlie", 0.5)
            turned = await asyncio.to_thread(_levels, call)
            assert turned[0] - flat[0] == pytest.approx(3.52, abs=0.5)
            assert turned[1] - flat[1] == pytest.approx(-6.02, abs=0.5)
            await asyncio.to_thread(bob.leave)
            again = await asyncio.to_thread(_bob_again, call)
            assert again == pytest.approx(turned[0], abs=0.5), "bob's volume was forgotten while he was away"
            assert orchestrator.get_metrics()["network"]["frames_received"] > 0

    def _levels(call: Call) -> tuple[float, float]:
        return steady(tape, "kitchen", BOB_HZ), steady(tape, "kitchen", CHARLIE_HZ)

    def _bob_again(call: Call) -> float:
        silent(tape, "kitchen", BOB_HZ)
        call.peer("bob").say(BOB_HZ)
        hears(tape, "kitchen", BOB_HZ)
        return steady(tape, "kitchen", BOB_HZ)

    run(story(), 60.0)


def test_a_device_that_is_missing_fails_connect_and_leaves_nobody_in_the_room(call: Call) -> None:
    bob = call.peer("bob")
    config = AudioConfig(input_device="plughw:CARD=Nowhere")
    orchestrator = AudioClientOrchestrator(call.server.url, call.server.token("alice", call.room), config)

    async def story() -> None:
        with pytest.raises(Exception, match="Nowhere"):
            await orchestrator.connect()
        await orchestrator.disconnect()

    run(story(), 30.0)
    until(lambda: not bob.participants(), 10.0, "alice to be gone")
