"""AudioRecorder and WavWriter, in virtual time: what is recorded is what was played, and nobody misses a sample."""

from __future__ import annotations

import asyncio
import contextlib
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from appliance.audio.recorder import WAV_BYTES_MAX, AudioRecorder, Recorded, WavWriter, wav_sink
from appliance.audio.ring import FrameRing
from appliance.ports import Samples
from tests.audio.sounds import FRAME, noise
from tests.harness.aio import run
from tests.harness.vtime import run_jumping


class Device:
    """A tap point that plays a recording to its taps in blocks, on the loop's time; `uneven`: two by two."""

    def __init__(self, sound: Samples, block: int = FRAME, *, uneven: bool = False) -> None:
        self.sound = sound
        self.block = block
        self.uneven = uneven
        self.taps: list[FrameRing] = []

    def add_tap(self, ring: FrameRing) -> None:
        self.taps.append(ring)

    def remove_tap(self, ring: FrameRing) -> None:
        self.taps.remove(ring)

    async def play(self) -> None:
        for turn, begin in enumerate(range(0, len(self.sound), self.block)):
            early = (0.2, 1.8)[turn % 2] if self.uneven else 1.0
            await asyncio.sleep(early * self.block / 48000)
            for tap in self.taps:
                tap.write(self.sound[begin : begin + self.block])


@contextlib.asynccontextmanager
async def playing(*devices: Device) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(device.play()) for device in devices]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Collected:
    """A sink that keeps everything; `before` is awaited first."""

    def __init__(self, delay_s: Callable[[int], float] = lambda _: 0.0) -> None:
        self.pcm = b""
        self._delay_s = delay_s
        self._calls = 0

    async def __call__(self, pcm: bytes) -> None:
        self._calls += 1
        await asyncio.sleep(self._delay_s(self._calls))
        self.pcm += pcm

    def side(self, index: int, channels: int) -> Samples:
        return np.frombuffer(self.pcm, "<i2").reshape(-1, channels)[:, index]


def record(devices: list[Device], seconds: float, sink: Collected) -> Recorded:
    async def story() -> Recorded:
        async with playing(*devices):
            return await AudioRecorder().record(devices, seconds, sink)

    return run_jumping(story())


def holds(recorded: Samples, said: Samples) -> bool:
    """Whether the recording is the sound without a hole; silence before and behind it is allowed."""
    sounding = np.flatnonzero(recorded)
    piece = recorded[sounding[0] : sounding[-1] + 1]
    start = next(i for i in range(len(said)) if np.array_equal(said[i : i + 50], piece[:50]))
    return np.array_equal(piece, said[start : start + len(piece)])


@pytest.mark.parametrize("block", [240, 480, 2400, 9600])
def test_what_is_heard_is_recorded_without_a_hole(block: int) -> None:
    said = noise(1, 2 * 48000)
    sink = Collected()
    recorded = record([Device(said, block)], 1.0, sink)
    assert recorded == Recorded(frames=48000, dropped=0)
    heard = sink.side(0, 1)
    assert holds(heard, said)
    assert np.count_nonzero(heard) > 0.8 * 48000


def test_two_taps_become_left_and_right() -> None:
    mic, mix = noise(1, 48000), noise(2, 48000)
    sink = Collected()
    record([Device(mic), Device(mix)], 0.5, sink)
    assert holds(sink.side(0, 2), mic)
    assert holds(sink.side(1, 2), mix)
    assert len(sink.side(0, 2)) == 24000


def test_a_device_that_gives_nothing_is_silence_beside_the_other() -> None:
    mix = noise(2, 48000)
    sink = Collected()
    record([Device(np.zeros(0, np.int16)), Device(mix)], 0.5, sink)
    assert not sink.side(0, 2).any()
    assert holds(sink.side(1, 2), mix)


@pytest.mark.parametrize("uneven", [False, True])
def test_a_device_that_comes_back_is_recorded_whole_again(uneven: bool) -> None:
    """0.3 s of sound, 0.5 s away, sound again: two unbroken pieces, also when its blocks come in bunches."""
    first, second = noise(1, 14400), noise(2, 2 * 48000)
    device = Device(first, block=4800, uneven=uneven)
    sink = Collected()

    async def story() -> None:
        async def away_and_back() -> None:
            await device.play()
            await asyncio.sleep(0.5)
            device.sound = second
            await device.play()

        task = asyncio.create_task(away_and_back())
        await AudioRecorder().record([device], 1.5, sink)
        task.cancel()

    run_jumping(story())
    heard = sink.side(0, 1)
    gap = np.flatnonzero(np.convolve(heard == 0, np.ones(4800), "valid") == 4800)
    assert holds(heard[: gap[0]], first)
    assert holds(heard[gap[-1] :], second)


def test_a_sink_that_is_stuck_for_a_while_loses_nothing() -> None:
    said = noise(1, 4 * 48000)
    sink = Collected(lambda call: 2.0 if call == 5 else 0.0)
    assert record([Device(said)], 3.0, sink) == Recorded(frames=3 * 48000, dropped=0)
    assert holds(sink.side(0, 1), said)


def test_a_sink_that_is_stuck_for_too_long_loses_sound_of_the_recording_and_says_how_much() -> None:
    said = noise(1, 12 * 48000)
    sink = Collected(lambda call: 8.0 if call == 5 else 0.0)
    recorded = record([Device(said)], 10.0, sink)
    assert recorded.frames == 10 * 48000
    assert recorded.dropped == pytest.approx(3.2 * 48000, rel=0.1)


def test_the_tap_is_taken_away_also_when_the_sink_fails() -> None:
    device = Device(noise(1, 48000))

    async def broken(_: bytes) -> None:
        raise OSError("disk full")

    async def story() -> None:
        async with playing(device):
            await AudioRecorder().record([device], 1.0, broken)

    with pytest.raises(OSError, match="disk full"):
        run_jumping(story())
    assert device.taps == []


def test_chunks_can_be_had_one_by_one_and_left_early() -> None:
    device = Device(noise(1, 48000))

    async def story() -> None:
        async with playing(device), contextlib.aclosing(AudioRecorder().chunks([device], 60.0)) as chunks:
            async for chunk in chunks:
                assert chunk.shape == (960, 1)
                break

    run_jumping(story())
    assert device.taps == []


# ---- WAV


def read_wav(path: Path) -> tuple[int, int, Samples]:
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), file.getnchannels(), pcm


@pytest.mark.slow
def test_a_wav_file_holds_what_was_played(tmp_path: Path) -> None:
    said = noise(1, 48000)
    device = Device(said)
    path = tmp_path / "mix.wav"

    async def story() -> None:
        with WavWriter(path, rate_hz=48000, channels=1) as writer:
            async with playing(device):
                await AudioRecorder().record([device], 0.1, wav_sink(writer))

    run(story())
    rate_hz, channels, pcm = read_wav(path)
    assert (rate_hz, channels, len(pcm)) == (48000, 1, 4800)
    assert holds(pcm, said)


def test_a_recording_that_is_cut_short_plays_up_to_there(tmp_path: Path) -> None:
    """Nobody closes the file: what has been written is in it, and the header says so."""
    path = tmp_path / "cut.wav"
    writer = WavWriter(path, rate_hz=16000, channels=2)
    assert read_wav(path)[2].size == 0, "a valid file from the first moment"
    for turn in range(1, 4):
        writer.write(noise(turn, 200).astype("<i2").tobytes())
        rate_hz, channels, pcm = read_wav(path)
        assert (rate_hz, channels, len(pcm)) == (16000, 2, 200 * turn)
    writer.close()
    writer.close()


def test_bytes_that_split_a_frame_are_put_together(tmp_path: Path) -> None:
    path = tmp_path / "split.wav"
    said = noise(1, 1000)
    data = said.astype("<i2").tobytes()
    with WavWriter(path, rate_hz=48000, channels=2) as writer:
        for begin in range(0, len(data), 7):
            writer.write(data[begin : begin + 7])
        assert writer.frames == 500
    assert np.array_equal(read_wav(path)[2], said)


def test_a_file_that_would_outgrow_the_format_is_refused(tmp_path: Path) -> None:
    with WavWriter(tmp_path / "long.wav", rate_hz=48000, channels=1) as writer:
        writer.frames = WAV_BYTES_MAX // 2
        with pytest.raises(OSError, match="4 GiB"):
            writer.write(b"\0\0")
