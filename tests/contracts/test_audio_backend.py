"""One suite for `ports.AudioBackend`, on the fake and on PortAudio with real ALSA names: so the fake stays honest."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import pytest

from appliance.audio.portaudio import PortAudioBackend
from appliance.errors import AudioError, ControlMissing, DeviceMissing, FormatUnsupported
from appliance.ports import AudioBackend, AudioStream, Block, DeviceInfo, Direction, StreamSpec
from tests.fakes.backend import FakeBackend
from tests.harness.sound import SoundStation, VirtualSound
from tests.harness.wait import until

SOON_S = 10.0  # a PulseAudio that shares two cores with other tests
LEVEL = 12_000
TOO_MANY = 33  # channels; PulseAudio has 32


class Ear:
    """A capture callback that keeps what it was given."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.threads: set[str] = set()

    def __call__(self, block: Block, overflowed: bool) -> None:
        assert isinstance(overflowed, bool)
        self.threads.add(threading.current_thread().name)
        self.blocks.append(block.copy())

    def wait(self, more: int = 3) -> Block:
        """The next few blocks."""
        before = len(self.blocks)
        until(lambda: len(self.blocks) >= before + more, SOON_S, f"{more} captured blocks")
        return np.concatenate(self.blocks[before:])


class Mouth:
    """A playback callback that plays one constant level."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, out: Block, underflowed: bool) -> None:
        assert isinstance(underflowed, bool)
        out[:] = LEVEL
        self.shapes.append(out.shape)

    def wait(self, more: int = 3) -> None:
        """Until a few more blocks were asked for."""
        before = len(self.shapes)
        until(lambda: len(self.shapes) >= before + more, SOON_S, f"{more} blocks to play")


class World(Protocol):
    """A microphone, a loudspeaker, and what can be seen of them from outside."""

    mic: str
    speaker: str

    def backend(self) -> AudioBackend: ...
    def said(self, level: int) -> contextlib.AbstractContextManager[object]: ...
    def played(self) -> Callable[[], int]: ...


class FakeWorld:
    """Devices made of memory, in real time."""

    mic, speaker = "kitchen_mic", "kitchen_speaker"

    def __init__(self) -> None:
        self.fake = FakeBackend(
            [
                DeviceInfo(self.mic, "Virtual kitchen microphone", input_channels=2),
                DeviceInfo(self.speaker, "Virtual kitchen speaker", output_channels=2),
            ]
        )
        for name in (self.mic, self.speaker):
            self.fake.refuse(name, channels=(TOO_MANY,))

    def backend(self) -> AudioBackend:
        return self.fake

    @contextlib.contextmanager
    def said(self, level: int) -> Iterator[None]:
        self.fake.source(self.mic, lambda _at, frames, channels, _rate: np.full((frames, channels), level, np.int16))
        yield

    def played(self) -> Callable[[], int]:
        return lambda: int(np.max(self.fake.heard(self.speaker), initial=0))


class RealWorld:
    """PortAudio on ALSA PCMs, with a private PulseAudio behind them."""

    def __init__(self, sound: VirtualSound, station: SoundStation, ends: contextlib.ExitStack) -> None:
        self.mic, self.speaker = station.mic_pcm, station.speaker_pcm
        self._sound, self._station, self._ends = sound, station, ends

    def backend(self) -> AudioBackend:
        return PortAudioBackend()

    def said(self, level: int) -> contextlib.AbstractContextManager[object]:
        return self._sound.play(self._station.name, np.full(4800, level, np.int16), loop=True)

    def played(self) -> Callable[[], int]:
        tape = self._ends.enter_context(self._sound.tape())
        return lambda: int(np.max(tape.ear(self._station.name), initial=0))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.device)])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with contextlib.ExitStack() as ends:
        if request.param == "real":
            sound: VirtualSound = request.getfixturevalue("sound")
            yield RealWorld(sound, sound.station("kitchen"), ends)
        else:
            fake = FakeWorld()
            ends.enter_context(fake.fake.run())
            yield fake
            assert fake.fake.streams == (), "a stream was left open"


def spec(pcm: str, *, rate_hz: int = 48_000, channels: int = 1) -> StreamSpec:
    return StreamSpec(pcm, rate_hz, channels, rate_hz // 100, 0.02)


def capturing(world: World, ear: Ear, what: StreamSpec) -> contextlib.closing[AudioStream]:
    return contextlib.closing(world.backend().open_capture(what, ear))


def playing(world: World, mouth: Mouth, what: StreamSpec) -> contextlib.closing[AudioStream]:
    return contextlib.closing(world.backend().open_playback(what, mouth))


def test_both_devices_are_listed_with_the_string_to_paste(world: World) -> None:
    listed = {info.pcm: info for info in world.backend().devices()}
    assert listed[world.mic].input_channels > 0
    assert listed[world.speaker].output_channels > 0
    assert listed[world.mic].name == "Virtual kitchen microphone"


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (48_000, 2), (44_100, 1)])
def test_captured_blocks_have_the_shape_that_was_asked_for(world: World, rate_hz: int, channels: int) -> None:
    ear = Ear()
    with capturing(world, ear, spec(world.mic, rate_hz=rate_hz, channels=channels)) as stream:
        ear.wait()
        assert (stream.pcm, stream.rate_hz, stream.channels) == (world.mic, rate_hz, channels)
        assert 0 < stream.latency_s < 0.2
        assert not stream.gone
    assert {block.shape for block in ear.blocks} == {(rate_hz // 100, channels)}
    assert {block.dtype for block in ear.blocks} == {np.dtype(np.int16)}


@pytest.mark.parametrize(("rate_hz", "channels"), [(48_000, 1), (48_000, 2), (44_100, 1)])
def test_blocks_to_play_have_the_shape_that_was_asked_for(world: World, rate_hz: int, channels: int) -> None:
    mouth = Mouth()
    with playing(world, mouth, spec(world.speaker, rate_hz=rate_hz, channels=channels)) as stream:
        mouth.wait()
        assert (stream.pcm, stream.rate_hz, stream.channels) == (world.speaker, rate_hz, channels)
        assert 0 < stream.latency_s < 0.2
    assert set(mouth.shapes) == {(rate_hz // 100, channels)}


def test_what_is_said_into_the_microphone_is_captured(world: World) -> None:
    ear = Ear()
    with world.said(LEVEL), capturing(world, ear, spec(world.mic)):
        until(lambda: int(np.max(ear.wait(1))) == LEVEL, SOON_S, "the level that is said")


def test_what_the_callback_fills_in_is_played(world: World) -> None:
    loudest = world.played()
    with playing(world, Mouth(), spec(world.speaker)):
        until(lambda: loudest() == LEVEL, SOON_S, lambda: f"level {LEVEL} at the speaker, heard {loudest()}")


def test_a_callback_can_tell_how_far_from_the_air_it_is(world: World) -> None:
    delays_s: list[float] = []
    ear, mouth = Ear(), Mouth()
    with capturing(world, ear, spec(world.mic)) as captured, playing(world, mouth, spec(world.speaker)) as played:
        ear.wait(10)
        mouth.wait(10)
        delays_s += [captured.delay_s, played.delay_s]
    assert all(0.0 <= delay_s < 1.0 for delay_s in delays_s)
    assert delays_s[1] > 0.0, "what is played now waits in the device's buffer"


def test_who_stands_back_is_called_all_the_same(world: World) -> None:
    ear = Ear()
    with capturing(world, ear, spec(world.mic)) as stream:
        for _ in range(2):
            ear.wait()
            stream.stand_back()
        ear.wait()
    stream.stand_back()  # after its end it is nothing


@pytest.mark.parametrize("direction", list(Direction))
def test_a_volume_control_that_is_not_there_is_refused(world: World, direction: Direction) -> None:
    with pytest.raises(ControlMissing) as refused:
        world.backend().set_level(world.mic, direction, "No such control", "70%")
    assert refused.value.fix


def test_callbacks_do_not_run_on_the_thread_that_opened(world: World) -> None:
    ear = Ear()
    with capturing(world, ear, spec(world.mic)):
        ear.wait()
    assert threading.current_thread().name not in ear.threads


def test_after_close_no_callback_runs_and_a_second_close_is_nothing(world: World) -> None:
    ear, witness = Ear(), Mouth()
    with playing(world, witness, spec(world.speaker)):
        stream = world.backend().open_capture(spec(world.mic), ear)
        ear.wait()
        stream.close()
        after = len(ear.blocks)
        witness.wait(5)  # as long as five blocks of the closed one would have taken
        assert len(ear.blocks) == after
        stream.close()


def test_a_device_opens_again_after_it_was_closed(world: World) -> None:
    for _ in range(2):
        ear = Ear()
        with capturing(world, ear, spec(world.mic)):
            ear.wait()


def test_a_name_that_is_nowhere_is_missing_in_both_directions(world: World) -> None:
    with pytest.raises(DeviceMissing, match="nowhere_at_all"):
        world.backend().open_capture(spec("nowhere_at_all"), Ear())
    with pytest.raises(DeviceMissing, match="nowhere_at_all"):
        world.backend().open_playback(spec("nowhere_at_all"), Mouth())


def test_a_format_that_the_device_refuses_is_told_as_that(world: World) -> None:
    with pytest.raises(FormatUnsupported, match=f"48000 Hz, {TOO_MANY} channels"):
        world.backend().open_playback(spec(world.speaker, channels=TOO_MANY), Mouth())


def test_a_refused_open_leaves_the_device_usable(world: World) -> None:
    with pytest.raises(FormatUnsupported):
        world.backend().open_capture(spec(world.mic, channels=TOO_MANY), Ear())
    ear = Ear()
    with capturing(world, ear, spec(world.mic)):
        ear.wait()


def test_a_loudspeaker_does_not_open_as_microphone(world: World) -> None:
    with pytest.raises(AudioError) as told:
        world.backend().open_capture(spec(world.speaker), Ear())
    assert world.speaker in str(told.value)
