"""One leg through its life, on fake cards, in virtual time: hung drivers, late answers, devices changed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.errors import DeviceLost
from appliance.leg import CLOSE_S, OPEN_S, AudioLeg, Reserves
from appliance.ports import Leg, LegState
from tests.fakes.backend import FakeBackend, usb_card
from tests.fakes.worker import HangingWorker
from tests.harness.vtime import LoopClock, run_jumping

BLOCK_S = 0.01


class Bench:
    """A microphone's leg on a fake card, tended as the supervisor does."""

    def __init__(self, reserves: Reserves | None = None, latency_ms: float | None = None) -> None:
        self.backend = FakeBackend([usb_card("Device"), usb_card("Other")])
        self.worker = HangingWorker()
        self.plugged = 1
        clock = LoopClock()
        config = AudioConfig(input_device="plughw:CARD=Device", input_latency_ms=latency_ms)
        self.handler = AudioInputHandler(config=config, backend=self.backend, clock=clock)
        self.leg = AudioLeg(
            Leg.INPUT,
            self.handler,
            enabled=True,
            worker=self.worker,
            clock=clock,
            retry_s=1.0,
            on_change=lambda: None,
            reserves=reserves,
            last_plugged=lambda: self.plugged,
        )
        self.lines: list[Any] = []

    @property
    def state(self) -> LegState:
        return self.leg.report.state

    def hang(self, card: str = "Device") -> None:
        """The driver does not answer from now on."""
        self.worker.hang = self.backend.hang(card)

    def said(self) -> list[str]:
        return [line["event"] for line in self.lines]

    async def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / BLOCK_S)):
            await asyncio.sleep(BLOCK_S)
            self.backend.advance(BLOCK_S)
            self.leg.tend()


@contextlib.asynccontextmanager
async def bench(reserves: Reserves | None = None, latency_ms: float | None = None) -> AsyncIterator[Bench]:
    one = Bench(reserves, latency_ms)
    with structlog.testing.capture_logs() as one.lines:
        yield one
        await one.leg.close()
        await asyncio.sleep(0)
    assert one.backend.streams == (), "a device was left open"


def test_a_driver_that_hangs_while_opening_holds_the_start_up_for_a_few_seconds_only() -> None:
    async def story() -> None:
        async with bench() as it:
            it.hang()
            with pytest.raises(DeviceLost, match="does not answer"):
                await asyncio.wait_for(it.leg.open(), OPEN_S + 0.1)
            assert it.state is LegState.MISSING
            it.worker.settle()

    run_jumping(story())


def test_a_hung_driver_is_called_once_and_told_once_and_its_late_answer_is_taken_up() -> None:
    async def story() -> None:
        async with bench() as it:
            it.hang()
            await it.leg.open_or_wait()
            await it.passes(30)
            assert len(it.worker.stuck) == 1
            it.worker.settle()
            await it.passes(0.1)
            assert it.state is LegState.OK
            assert it.said() == ["audio.lost", "audio.recovered"]

    run_jumping(story())


def test_a_device_that_comes_open_after_the_session_ended_is_closed() -> None:
    async def story() -> None:
        async with bench() as it:
            it.hang()
            await it.leg.open_or_wait()
            await it.leg.close()
            it.worker.settle()
            await asyncio.sleep(1)
            assert it.backend.streams == ()

    run_jumping(story())


def test_a_device_changed_while_the_old_one_hangs_is_opened_when_that_answers() -> None:
    async def story() -> None:
        async with bench() as it:
            it.hang()
            await it.leg.open_or_wait()
            it.handler.config = AudioConfig(input_device="plughw:CARD=Other")
            it.leg.reopen()
            await it.passes(1)
            it.worker.settle()
            await it.passes(0.5)
            assert it.handler.device == "plughw:CARD=Other"
            assert len(it.backend.streams) == 1

    run_jumping(story())


def test_a_card_that_is_pulled_is_lost_at_the_next_look() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            await it.passes(1)
            it.backend.unplug("Device")
            it.leg.tend()
            assert it.state is LegState.MISSING
            await it.passes(0.1)
            assert it.backend.streams == ()

    run_jumping(story())


def test_a_card_that_is_plugged_in_is_taken_before_the_next_try_is_due() -> None:
    async def story() -> None:
        async with bench() as it:
            it.backend.unplug("Device")
            it.leg.retry_s = 5.0
            await it.leg.open_or_wait()
            await it.passes(0.5)
            it.backend.plug(usb_card("Device"))
            await it.passes(0.5)
            assert it.state is LegState.MISSING  # nobody said that something was plugged in
            it.plugged = 2
            await it.passes(0.1)
            assert it.state is LegState.MISSING  # its rights are not set yet
            await it.passes(0.3)
            assert it.state is LegState.OK

    run_jumping(story())


def test_a_card_that_stops_is_lost_within_a_second() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            it.backend.stop("Device")
            await it.passes(0.7)
            assert it.state is LegState.MISSING
            it.backend.resume("Device")

    run_jumping(story())


def test_a_card_that_is_silent_for_a_moment_stands_back_and_is_not_lost() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            await it.passes(1)
            stream = it.backend.streams[0]
            assert stream.stood_back == 0
            it.backend.stop("Device")
            await it.passes(0.3)
            assert stream.stood_back > 0
            it.backend.resume("Device")
            await it.passes(0.1)
            so_far = stream.stood_back
            await it.passes(1)
            assert stream.stood_back == so_far
            assert it.said() == ["audio.opened"]

    run_jumping(story())


def test_a_machine_that_stood_still_does_not_blame_its_sound_card() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            await it.passes(1)
            await asyncio.sleep(2)  # nobody ran: neither the card's thread nor whoever tends the leg
            it.leg.tend()
            await it.passes(1)
            assert it.said() == ["audio.opened"]

    run_jumping(story())


def test_a_leg_that_changes_devices_is_not_reported_missing_meanwhile() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            it.hang("Other")
            it.handler.config = AudioConfig(input_device="plughw:CARD=Other")
            it.leg.reopen()
            await it.passes(0.3)
            assert len(it.worker.stuck) == 1
            assert it.state is LegState.OK
            it.worker.settle()
            await it.passes(1.5)
            assert it.handler.device == "plughw:CARD=Other"
            assert it.state is LegState.OK

    run_jumping(story())


def test_a_driver_that_does_not_let_go_is_told_and_its_device_closed_all_the_same() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            it.backend.stop("Device")
            it.hang()
            await it.passes(1 + CLOSE_S)
            assert it.said() == ["audio.opened", "audio.lost", "audio.close_stuck"]
            it.backend.resume("Device")
            it.worker.settle()
            await it.passes(1.5)
            assert it.state is LegState.OK
            assert len(it.backend.streams) == 1

    run_jumping(story())


def test_a_device_that_runs_dry_again_and_again_is_asked_to_hold_more_until_that_is_enough() -> None:
    async def story() -> None:
        async with bench() as it:
            it.backend.needs("Device", 0.05)
            await it.leg.open()
            await it.passes(60)
            assert [round(spec.latency_s, 3) for spec in it.backend.opened] == [0.02, 0.04, 0.08]
            assert it.said() == ["audio.opened", "audio.ran_dry", "audio.opened", "audio.ran_dry", "audio.opened"]
            told = [line for line in it.lines if line["event"] == "audio.ran_dry"]
            assert [(line["before_ms"], line["latency_ms"]) for line in told] == [(20.0, 40.0), (40.0, 80.0)]
            assert told[-1]["fix"] == "to begin with it: audio.input.latency_ms: 80"
            assert it.state is LegState.OK

    run_jumping(story())


def test_the_next_session_begins_with_what_was_learned_and_other_settings_without() -> None:
    async def story() -> None:
        reserves = Reserves()
        for asked_s in (0.02, 0.04):
            async with bench(reserves) as it:
                it.backend.needs("Device", 0.04)
                await it.leg.open()
                assert it.backend.opened[-1].latency_s == pytest.approx(asked_s)
                await it.passes(10)
                assert it.backend.opened[-1].latency_s == pytest.approx(0.04)
        async with bench(reserves) as it:
            await it.leg.open()
            it.leg.reopen()
            await it.passes(1)
            assert it.backend.opened[-1].latency_s == pytest.approx(0.02)

    run_jumping(story())


def test_a_buffer_that_alto_yaml_names_stays_and_that_it_is_too_small_is_told() -> None:
    async def story() -> None:
        async with bench(latency_ms=30.0) as it:
            it.backend.needs("Device", 0.05)
            await it.leg.open()
            await it.passes(60)
            assert [spec.latency_s for spec in it.backend.opened] == [0.03]
            told = [line for line in it.lines if line["event"] == "audio.ran_dry"]
            assert [(line["before_ms"], line["latency_ms"]) for line in told] == [(30.0, 30.0)] * 2
            assert "raise audio.input.latency_ms" in told[0]["fix"]

    run_jumping(story())


def test_accidents_before_a_device_was_away_say_nothing_of_it_now() -> None:
    async def story() -> None:
        async with bench() as it:
            await it.leg.open()
            it.backend.needs("Device", 0.05)
            await it.passes(2.5)  # the third second with an accident has begun
            it.backend.unplug("Device")
            it.leg.tend()
            await it.passes(0.1)
            it.backend.plug(usb_card("Device"))
            await it.passes(2)
            assert it.state is LegState.OK
            it.backend.needs("Device", 0.05)
            await it.passes(0.5)
            assert it.said() == ["audio.opened", "audio.lost", "audio.recovered"]

    run_jumping(story())
