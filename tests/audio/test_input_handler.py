"""AudioInputHandler: what the network gets from what the microphone hears."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.clock import SystemClock
from appliance.errors import DeviceMissing
from appliance.ports import Block, DeviceInfo, Samples
from tests.audio.sounds import FRAME, amplitude_at, noise, roughness, tone
from tests.fakes.backend import FakeBackend, usb_card
from tests.harness.wait import until

MIC = usb_card("Mic")


def opened(config: AudioConfig | None = None, device: DeviceInfo = MIC) -> tuple[AudioInputHandler, FakeBackend]:
    backend = FakeBackend([device])
    handler = AudioInputHandler(config=config or AudioConfig(), backend=backend, clock=SystemClock())
    handler.open()
    return handler, backend


def mono(samples: Samples) -> Block:
    return samples[:, np.newaxis]


def said(handler: AudioInputHandler) -> Samples:
    """All whole frames that wait for the network."""
    frames = []
    frame = np.zeros(FRAME, np.int16)
    while handler.frames.take(frame):
        frames.append(frame.copy())
    return np.concatenate(frames) if frames else np.zeros(0, np.int16)


def hear(handler: AudioInputHandler, backend: FakeBackend, sound: Block, block: int = FRAME) -> Samples:
    """Feed `sound` block by block and take what comes out at once, as the network does."""
    taken = []
    for begin in range(0, len(sound), block):
        assert backend.feed("Mic", sound[begin : begin + block])
        taken.append(said(handler))
    return np.concatenate(taken)


def test_what_the_microphone_hears_is_sent_bit_by_bit() -> None:
    handler, backend = opened()
    sound = noise(1, 4800, 32767)
    sound[:2] = -32768, 32767
    assert np.array_equal(hear(handler, backend, mono(sound)), sound)


@pytest.mark.parametrize("block", [16, 240, 960, 2400])
def test_every_block_size_becomes_frames_of_10_ms(block: int) -> None:
    handler, backend = opened(AudioConfig(samples_per_channel=block))
    assert backend.opened[0].block_frames == block
    sound = noise(1, 9600)
    assert np.array_equal(hear(handler, backend, mono(sound), block), sound)


def test_a_stereo_microphone_is_mixed_down() -> None:
    """A card that only does stereo: both sides are heard."""
    backend = FakeBackend([DeviceInfo("hw:CARD=Mic", "Mic", card_id="Mic", input_channels=2, rates_hz=(48000,))])
    handler = AudioInputHandler(config=AudioConfig(input_device="hw:CARD=Mic"), backend=backend, clock=SystemClock())
    handler.open()
    left, right = tone(300, 0.2), tone(900, 0.2)
    heard = hear(handler, backend, np.stack([left, right], axis=1))
    assert handler.get_metrics()["channels"] == 2
    for hz in (300, 900):
        assert amplitude_at(heard, hz) == pytest.approx(4000, rel=0.01)


@pytest.mark.parametrize("rate_hz", [44100, 16000])
def test_a_microphone_at_another_rate_keeps_its_pitch_and_its_pace(rate_hz: int) -> None:
    backend = FakeBackend([DeviceInfo("hw:CARD=Mic", "Mic", card_id="Mic", input_channels=1, rates_hz=(rate_hz,))])
    handler = AudioInputHandler(config=AudioConfig(input_device="hw:CARD=Mic"), backend=backend, clock=SystemClock())
    handler.open()
    block = backend.opened[0].block_frames
    heard = hear(handler, backend, mono(tone(1000, 2.0, rate_hz=rate_hz)), block)
    assert len(heard) == pytest.approx(2 * 48000, abs=2 * FRAME), "no frame is lost and none is made up"
    assert amplitude_at(heard[4800:-4800], 1000) == pytest.approx(8000, rel=0.01)
    assert handler.get_metrics()["rate_hz"] == rate_hz
    assert handler.get_metrics()["frames"] == 2 * rate_hz


def test_the_gain_changes_without_a_click() -> None:
    handler, backend = opened(AudioConfig(input_volume=0.5))
    sound = mono(tone(300, 0.2))
    before = hear(handler, backend, sound)
    handler.set_volume(2.0)
    after = hear(handler, backend, sound)
    assert handler.volume == 2.0
    assert amplitude_at(before, 300) == pytest.approx(4000, rel=0.01)
    assert amplitude_at(after[FRAME:], 300) == pytest.approx(16000, rel=0.01)
    assert roughness(np.concatenate([before, after])) < 2 * roughness(tone(300, 0.1, amplitude=16000))


def test_too_much_gain_clips_and_is_counted() -> None:
    handler, backend = opened(AudioConfig(input_volume=4.0))
    heard = hear(handler, backend, mono(tone(300, 0.1, amplitude=30000)))
    assert heard.max() == 32767
    assert heard.min() == -32768
    assert handler.get_metrics()["clipped"] == np.count_nonzero((heard == 32767) | (heard <= -32767))


@pytest.mark.parametrize("volume", [-0.1, 4.5])
def test_a_gain_outside_its_range_is_refused(volume: float) -> None:
    handler, _ = opened()
    with pytest.raises(ValueError, match="volume"):
        handler.set_volume(volume)


def test_sound_that_nobody_takes_goes_oldest_first_and_is_counted() -> None:
    handler, backend = opened()
    sound = noise(1, 24000)
    for begin in range(0, len(sound), FRAME):
        backend.feed("Mic", mono(sound[begin : begin + FRAME]))
    assert np.array_equal(said(handler), sound[-4800:]), "100 ms are kept"
    assert handler.get_metrics()["dropped"] == 24000 - 4800


def test_metrics_say_how_the_microphone_is_doing() -> None:
    handler, backend = opened(AudioConfig(input_latency_ms=30))
    assert handler.last_block_at is None
    before = time.monotonic()
    backend.feed("Mic", mono(tone(300, 0.01, amplitude=32767)))
    backend.feed("Mic", mono(tone(300, 0.01, amplitude=32767)), overflowed=True)
    metrics = handler.get_metrics()
    assert handler.last_block_at is not None
    assert before <= handler.last_block_at <= time.monotonic()
    assert metrics.pop("level_dbfs") == pytest.approx(-3, abs=1.0)  # the seam is softer
    assert metrics.pop("callback_ms_max") >= metrics.pop("callback_ms_p50") > 0  # type: ignore[operator]
    assert metrics.pop("callback_ms_p99") > 0  # type: ignore[operator]
    assert metrics.pop("callback_gap_ms_max") >= 0  # type: ignore[operator]
    assert metrics.pop("late_calls") >= 0  # type: ignore[operator]  # by a real clock
    assert metrics.pop("clipped") > 0  # type: ignore[operator]
    assert metrics == {
        "device": MIC.pcm,
        "open": True,
        "frames": 960,
        "blocks": 2,
        "overruns": 1,
        "dropped": 0,
        "peak_dbfs": 0.0,
        "rate_hz": 48000,
        "channels": 1,
        "latency_ms": 30.0,
        "errors": 0,
        "drift_ppm": 0.0,
    }


def test_closed_says_so_and_can_be_opened_again() -> None:
    handler, backend = opened()
    handler.close()
    handler.close()
    assert backend.streams == ()
    metrics = handler.get_metrics()
    assert (metrics["open"], metrics["rate_hz"], metrics["device"]) == (False, 0, "default")
    handler.open()
    handler.open()
    assert len(backend.streams) == 1, "opening again closes what was open"
    sound = noise(1, FRAME)
    assert np.array_equal(hear(handler, backend, mono(sound)), sound)


def test_a_missing_microphone_is_an_error_with_its_name() -> None:
    handler = AudioInputHandler(config=AudioConfig(input_device="Mic"), backend=FakeBackend([]), clock=SystemClock())
    with pytest.raises(DeviceMissing):
        handler.open()
    assert handler.device == "Mic"
    assert handler.get_metrics()["open"] is False


def test_blocks_that_come_before_the_rate_is_known_are_dropped() -> None:
    handler = AudioInputHandler(config=AudioConfig(), backend=FakeBackend([MIC]), clock=SystemClock())
    handler._audio_callback(mono(noise(1, FRAME)), False)
    assert said(handler).size == 0
    assert handler.get_metrics()["errors"] == 0


def test_a_fault_in_the_callback_is_counted_and_goes_no_further() -> None:
    handler, backend = opened()

    def closed_loop() -> None:
        raise RuntimeError("Event loop is closed")

    handler.frames.set_wakeup(closed_loop)
    assert backend.feed("Mic", mono(noise(1, FRAME)))
    handler.frames.set_wakeup(None)
    assert backend.feed("Mic", mono(noise(1, FRAME)))
    assert handler.get_metrics()["errors"] == 1
    assert handler.get_metrics()["blocks"] == 2


def test_a_stuck_event_loop_does_not_stall_the_callback() -> None:
    """The loop is blocked for a while; meanwhile the microphone delivers on, each callback in no time."""
    handler, backend = opened()
    backend.source("Mic", lambda position, frames, channels, rate_hz: mono(noise(position, frames)))
    blocks_while_stuck: list[int] = []

    async def story() -> None:
        loop, more = asyncio.get_running_loop(), asyncio.Event()
        handler.frames.set_wakeup(lambda: loop.call_soon_threadsafe(more.set))
        await more.wait()
        before = handler._callbacks.blocks
        until(lambda: handler._callbacks.blocks >= before + 15, 5.0, "15 blocks while the loop is blocked")
        blocks_while_stuck.append(handler._callbacks.blocks - before)
        handler.frames.set_wakeup(None)

    with backend.run():
        asyncio.run(story())
    assert blocks_while_stuck[0] >= 15
    metrics = handler.get_metrics()
    assert metrics["errors"] == 0
    # Two cores that others use as well: a callback may be put aside, yet never for as long as the loop was stuck.
    assert float(str(metrics["callback_ms_max"])) < 150


def test_a_reader_thread_gets_every_frame_of_a_running_microphone() -> None:
    handler, backend = opened()
    backend.source(
        "Mic", lambda position, frames, channels, rate_hz: mono(np.arange(position, position + frames) % 30000)
    )
    taken: list[Samples] = []
    more = threading.Event()
    handler.frames.set_wakeup(more.set)
    frame = np.zeros(FRAME, np.int16)
    with backend.run():
        while len(taken) < 15:
            assert more.wait(5.0), "the microphone wakes its reader"
            more.clear()
            while handler.frames.take(frame):
                taken.append(frame.copy())
    steps = np.diff(np.concatenate(taken[:15]).astype(int))
    assert set(steps.tolist()) <= {1, 1 - 30000}


STEREO_MIC = DeviceInfo(MIC.pcm, "Mic", card_id="Mic", input_channels=2)


@pytest.mark.parametrize(("channel", "level"), [("left", 1000), ("right", 3000), ("mix", 2000)])
def test_one_side_of_a_stereo_microphone_can_be_chosen(channel: str, level: int) -> None:
    handler, backend = opened(AudioConfig(input_channel=channel), STEREO_MIC)
    if channel == "mix":
        backend.refuse("Mic", channels=(1,))  # a card that only does stereo; else ALSA is left to mix
        handler.open()
    assert backend.opened[-1].channels == 2
    both = np.tile(np.array([[1000, 3000]], np.int16), (FRAME, 1))
    assert set(hear(handler, backend, both)) == {level}


@pytest.mark.parametrize("channel", ["left", "right"])
def test_a_microphone_with_one_channel_has_no_sides(channel: str) -> None:
    backend = FakeBackend([MIC])
    backend.refuse("Mic", channels=(2,))
    handler = AudioInputHandler(config=AudioConfig(input_channel=channel), backend=backend, clock=SystemClock())
    handler.open()
    sound = noise(1, FRAME)
    assert np.array_equal(hear(handler, backend, mono(sound)), sound)
