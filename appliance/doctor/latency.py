"""`alto doctor --latency`: how long sound takes from alto to the speaker, through cable or air, and back to alto.

The devices are opened as the station opens them. Their two clocks meet in the computer's: each callback notes when it
came and at which sample it stood.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.audio.config import AudioConfig
from appliance.audio.convert import CaptureConverter, PlaybackConverter
from appliance.audio.opening import open_first
from appliance.audio.pcm import F32, FULL_SCALE, dbfs
from appliance.doctor import marks
from appliance.doctor.checks import ECHO, ECHO_FIX
from appliance.doctor.marks import Loop
from appliance.doctor.results import Result, fail, ok, skip, warn
from appliance.errors import AudioError
from appliance.ports import AudioBackend, AudioStream, Block, Clock, Direction, Samples

CHECK: Final = "loop latency"
SPREAD_MS: Final = 5.0  # above, something between the devices gives way: a busy board, or a sound server
MARGIN_DB: Final = 10.0  # from the marks' highest sample to the noise: echo cancellation needs about that much
ECHO_DB: Final = -46.0  # the echo loss that a telephone is to have: 3GPP TS 26.132, clause 8.7
AROUND_S: Final = 0.5  # a device's callbacks so near to a mark tell when it was played or heard
SILENT_DBFS: Final = -100.0  # below, no converter was involved: not even noise
SPARE_S: Final = 0.5  # heard after the last mark
PATIENCE_S: Final = 10.0  # more than was asked for: a device that starts slowly
STEP_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured with what."""

    backend: AudioBackend
    config: AudioConfig
    clock: Clock
    level_dbfs: float
    """The marks' highest sample."""
    wait: Callable[[float], None] = time.sleep
    keeps_echo_away: bool = False
    """Whether the station has something done about the speaker's sound in the microphone."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement found."""

    loop: Loop
    speaker: str
    """ALSA names."""
    microphone: str
    buffers_ms: tuple[float, float]
    """What PortAudio says of the speaker's and the microphone's buffer."""
    accidents: int
    """Blocks before which a device had lost sound or run out of it."""


class Timeline:
    """When a device's callbacks came, and at which sample it stood. Its audio thread notes, another asks later."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz: Final = rate_hz
        self._at: list[int] = []
        self._zero_s: list[float] = []

    def note(self, now_s: float, position: int) -> None:
        """A block that begins with that sample came now."""
        self._at.append(position)
        self._zero_s.append(now_s - position / self._rate_hz)

    def zero_s(self, position: int) -> float:
        """When sample 0 would have passed by the callbacks around that sample: what half of them say. A callback that
        was kept waiting moves nothing, nor does a device that hands out two blocks at a time."""
        around = np.abs(np.asarray(self._at) - position) <= AROUND_S * self._rate_hz
        return float(np.median(np.asarray(self._zero_s)[around if around.any() else slice(None)]))


class _Speaker:
    def __init__(self, setup: Setup, sound: Samples) -> None:
        self.timeline = Timeline(setup.config.sample_rate)
        self.accidents = 0
        self.at = 0
        self._clock, self._sound = setup.clock, sound
        self._converter: PlaybackConverter | None = None

    def opened(self, stream: AudioStream, config: AudioConfig) -> None:
        self._converter = PlaybackConverter(
            device_hz=stream.rate_hz,
            rate_hz=config.sample_rate,
            block_frames=config.block_samples(Direction.OUTPUT),
            pull=self._pull,
        )

    def __call__(self, out: Block, underflowed: bool) -> None:
        if self._converter is None:
            out.fill(0)
            return
        self.accidents += underflowed and self.at > 0
        self.timeline.note(self._clock.monotonic(), self.at)
        self._converter.fill(out)

    def _pull(self, out: F32) -> None:
        piece = self._sound[self.at : self.at + out.size]
        out[: piece.size] = piece
        out[piece.size :] = 0
        self.at += out.size


class _Microphone:
    def __init__(self, setup: Setup) -> None:
        self.timeline = Timeline(setup.config.sample_rate)
        self.accidents = 0
        self.got = 0
        self._clock = setup.clock
        self._pieces: list[Samples] = []
        self._converter: CaptureConverter | None = None

    def opened(self, stream: AudioStream, config: AudioConfig) -> None:
        self._converter = CaptureConverter(
            device_hz=stream.rate_hz,
            rate_hz=config.sample_rate,
            block_frames=config.samples_per_channel,
            channel=config.input_channel,
        )

    def __call__(self, block: Block, overflowed: bool) -> None:
        if self._converter is None:
            return
        self.accidents += overflowed and self.got > 0
        self.timeline.note(self._clock.monotonic(), self.got)
        piece = np.clip(np.rint(self._converter.convert(block)), -32768, 32767).astype(np.int16)
        self._pieces.append(piece)
        self.got += piece.size

    def heard(self) -> Samples:
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)


def measure(setup: Setup) -> Measured:
    """Play and listen for some six seconds. Blocks. Raises AudioError."""
    config = setup.config
    sound = marks.sound(config.sample_rate, setup.level_dbfs)
    speaker, microphone = _Speaker(setup, sound), _Microphone(setup)
    with contextlib.ExitStack() as ends:
        ear = _open(setup, Direction.INPUT, microphone)
        ends.callback(ear.close)
        mouth = _open(setup, Direction.OUTPUT, speaker)
        ends.callback(mouth.close)
        microphone.opened(ear, config)
        speaker.opened(mouth, config)
        _until_played(setup, speaker, sound.size + round(SPARE_S * config.sample_rate))
        buffers_ms = (1000 * mouth.latency_s, 1000 * ear.latency_s)
    loop = _found(setup, speaker.timeline, microphone)
    return Measured(loop, mouth.pcm, ear.pcm, buffers_ms, speaker.accidents + microphone.accidents)


def _open(setup: Setup, direction: Direction, callback: _Speaker | _Microphone) -> AudioStream:
    config = setup.config
    capture = direction is Direction.INPUT
    return open_first(
        backend=setup.backend,
        name=config.input_device if capture else config.output_device,
        direction=direction,
        config=config,
        callback=callback,
    )


def _until_played(setup: Setup, speaker: _Speaker, samples: int) -> None:
    left_s = samples / setup.config.sample_rate + PATIENCE_S
    while speaker.at < samples and left_s > 0:
        setup.wait(STEP_S)
        left_s -= STEP_S


def _found(setup: Setup, played: Timeline, microphone: _Microphone) -> Loop:
    rate_hz, everything = setup.config.sample_rate, microphone.heard()
    delays_ms: list[float] = []
    gains: list[float] = []
    starts: list[int] = []
    for position in marks.positions(rate_hz) if everything.size else ():
        said_s = played.zero_s(position) + position / rate_hz
        start = max(0, round((said_s - microphone.timeline.zero_s(position)) * rate_hz))
        starts.append(start)
        reach = round((marks.REACH_S + marks.MARK_S) * rate_hz)
        arrival = marks.find(everything[start : start + reach], rate_hz, setup.level_dbfs)
        if arrival is not None:
            at = start + arrival.at
            delays_ms.append(1000 * (microphone.timeline.zero_s(at) + at / rate_hz - said_s))
            gains.append(arrival.gain)
    return marks.judge(delays_ms, gains, everything[: starts[0]] if starts else everything, everything)


# ---- in words ----------------------------------------------------------------------------------------------------


def examine(setup: Setup, *, station_runs: bool) -> list[Result]:
    """Measure, unless the station holds the devices, and say what was found. Never raises AltoError."""
    config = setup.config
    if config.no_capture or config.no_playback:
        return [skip(CHECK, "takes a microphone and a speaker; alto.yaml has one of them off")]
    if station_runs:
        how = "systemctl stop alto, measure again, systemctl start alto"
        return [fail(CHECK, "the station runs and has the microphone and the speaker in its hands", how)]
    try:
        return told(measure(setup), setup)
    except AudioError as error:
        return [fail(CHECK, error.message, error.fix or 'see "alto devices"')]


def told(found: Measured, setup: Setup) -> list[Result]:
    """The results of a measurement. Pure."""
    loop = found.loop
    if not loop.heard:
        return [_unheard(found), *_disturbed(found)]
    level = marks.level_at_microphone_dbfs(loop, setup.level_dbfs)
    return [*_delay(found), *_level(loop, level), _echo(level - setup.level_dbfs, setup), *_disturbed(found)]


def _delay(found: Measured) -> list[Result]:
    loop, (speaker_ms, microphone_ms) = found.loop, found.buffers_ms
    words = (
        f"{loop.median_ms:.1f} ms from {found.speaker} to {found.microphone}, {len(loop.delays_ms)} of {marks.MARKS} "
        f"marks, {min(loop.delays_ms):.1f} to {max(loop.delays_ms):.1f}; their buffers hold {speaker_ms:.0f} and "
        f"{microphone_ms:.0f} ms"
    )
    if loop.spread_ms <= SPREAD_MS:
        return [ok(CHECK, words)]
    return [warn(CHECK, words, "it is not steady: measure on an idle board, or name the card itself (plughw:…)")]


def _level(loop: Loop, level: float) -> list[Result]:
    turned = "upside down" if loop.gain < 0 else "the right way up"
    words = f"{level:.0f} dBFS at the microphone, {level - loop.noise_dbfs:.0f} dB above its noise, {turned}"
    if loop.clipped:
        return [warn("loop level", f"{words}; {loop.clipped} samples clip", "turn the microphone or the speaker down")]
    if level - loop.noise_dbfs < MARGIN_DB:
        return [warn("loop level", words, "turn the speaker up, or bring the microphone nearer")]
    return [ok("loop level", words)]


def _echo(db: float, setup: Setup) -> Result:
    """The marks were played and heard as the devices are; what the others get of an echo both volumes change too."""
    volumes = setup.config.volume * setup.config.input_volume
    turned = "" if volumes == 1.0 else ", with the volumes of alto.yaml"
    db += dbfs(volumes * FULL_SCALE)
    words = f"the microphone hears the speaker at {round(db):+d} dB{turned}"
    if setup.keeps_echo_away:
        return ok(ECHO, f"{words}; it is kept away, as alto.yaml says")
    if db <= ECHO_DB:
        return ok(ECHO, f"{words}: too soft to disturb")
    return warn(ECHO, f"{words}: the others hear themselves, unless this was a cable", ECHO_FIX)


def _unheard(found: Measured) -> Result:
    loop, way = found.loop, f"{found.microphone} does not hear {found.speaker}"
    if loop.peak_dbfs < SILENT_DBFS:
        return fail(CHECK, f"{way}: it delivers nothing but zeros", "unmute it (alsamixer), or choose another device")
    if loop.clipped:
        return fail(CHECK, f"{way}: {loop.clipped} samples clip", "turn the microphone down (alsamixer)")
    words = f"{way}: too quiet, or not the device that you think; noise {loop.noise_dbfs:.0f} dBFS"
    return fail(CHECK, words, "turn the speaker up, use --level -6, or name other devices; see alto devices")


def _disturbed(found: Measured) -> list[Result]:
    if not found.accidents:
        return []
    return [
        warn(
            "loop blocks",
            f"a device lost sound or ran out of it {found.accidents} times meanwhile",
            "measure on an idle board; if it stays so, raise audio.block_ms or the devices' latency_ms",
        )
    ]
