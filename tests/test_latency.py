"""`alto doctor --latency`: known delays are told, through a cable, through a room, and through real PCMs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.audio.config import AudioConfig
from appliance.audio.portaudio import PortAudioBackend
from appliance.clock import SystemClock
from appliance.doctor import latency, marks
from appliance.doctor.latency import Measured, Setup, Timeline, examine, measure
from appliance.doctor.marks import Loop
from appliance.doctor.results import Result, Verdict, exit_code
from appliance.ports import AudioStream, Block, CaptureCallback, StreamSpec
from tests.fakes.backend import FakeBackend, usb_card
from tests.harness.oddsound import looped
from tests.harness.processes import going_first
from tests.harness.sound import VirtualSound
from tests.harness.station import ROOT

RATE_HZ = 48_000
LEVEL_DBFS = -18.0
CARD = "plughw:CARD=Desk"
TICK_S = 0.001
EXTRA_MS = 15.0  # less than what marks may lie apart


@dataclass
class Room:
    """A speaker and a microphone in virtual time, with a way for the sound between them."""

    delay_ms: float = 40.0
    echo: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))
    """What becomes of a click on its way, from its first arrival on."""
    noise_dbfs: float = -300.0
    seed: int = 1
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.backend = FakeBackend([usb_card("Desk")])
        self.backend.source(CARD, self._air)
        self._random = np.random.default_rng(self.seed)

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self.now_s += TICK_S
            self.backend.advance(TICK_S)

    def setup(self, **config: object) -> Setup:
        known = AudioConfig(**config)  # type: ignore[arg-type]
        return Setup(self.backend, known, self, LEVEL_DBFS, self.wait)

    def _air(self, position: int, frames: int, channels: int, rate_hz: int) -> Block:
        played = self.backend._socket(CARD).heard
        first = position - round(self.delay_ms * rate_hz / 1000) - self.echo.size + 1
        blocks = list(played)[max(0, first // 480) :]
        start = first - 480 * max(0, first // 480)
        mono = np.concatenate([block[:, 0] for block in blocks]).astype(float) if blocks else np.zeros(0)
        mono = np.concatenate([np.zeros(max(0, -start)), mono[max(0, start) :]])[: frames + self.echo.size - 1]
        mono = np.pad(mono, (0, frames + self.echo.size - 1 - mono.size))
        heard = np.convolve(mono, self.echo, "valid")
        heard = heard + self._random.normal(0, 32768 * 10 ** (self.noise_dbfs / 20), frames)
        return np.repeat(np.clip(np.round(heard), -32768, 32767).astype(np.int16)[:, None], channels, axis=1)


def a_room(seed: int = 3) -> NDArray[np.float64]:
    """The straight way at a tenth, then reflections, some as strong, that die away within 0.15 s."""
    random = np.random.default_rng(seed)
    response = np.zeros(round(0.15 * RATE_HZ))
    response[0] = 0.1
    at = random.integers(120, response.size, 200)
    response[at] += 0.05 * random.choice((-1, 1), 200) * np.exp(-at / (0.03 * RATE_HZ))
    return response


@pytest.mark.slow
@pytest.mark.parametrize("delay_ms", [30.0, 141.5])
def test_a_cables_delay_is_told_to_the_millisecond(delay_ms: float) -> None:
    found = measure(Room(delay_ms).setup())
    assert found.loop.median_ms == pytest.approx(delay_ms, abs=1.5)
    assert found.loop.spread_ms < 1.0
    assert len(found.loop.delays_ms) == marks.MARKS
    assert found.loop.gain == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_through_a_room_and_its_noise_the_straight_way_counts() -> None:
    found = measure(Room(52.0, a_room(), noise_dbfs=-45.0).setup())
    assert found.loop.median_ms == pytest.approx(52.0, abs=2.0)
    assert found.loop.spread_ms < 2.0
    assert found.loop.noise_dbfs == pytest.approx(-45.0, abs=1.0)


@pytest.mark.slow
def test_a_microphone_that_hears_only_noise_finds_nothing() -> None:
    room = Room(52.0, np.zeros(1), noise_dbfs=-30.0)
    (result,) = examine(room.setup(), station_runs=False)
    assert (result.verdict, "too quiet" in result.found) == (Verdict.FAIL, True)
    assert "--level" in result.fix


def test_a_mark_upside_down_is_found_with_its_sign() -> None:
    heard = np.zeros(RATE_HZ // 2, np.int16)
    one = marks.sound(RATE_HZ, LEVEL_DBFS)[RATE_HZ : RATE_HZ + round(marks.MARK_S * RATE_HZ)]
    heard[1000 : 1000 + one.size] = -one // 2
    found = marks.find(heard, RATE_HZ, LEVEL_DBFS)
    assert found is not None
    assert found.at == 1000
    assert found.gain == pytest.approx(-0.5, abs=0.01)


def test_marks_that_do_not_agree_are_left_out() -> None:
    loop = marks.judge([50.0, 50.2, 300.0, 49.8], [1.0, 1.0, 9.0, 1.0], np.ones(9, np.int16), np.ones(9, np.int16))
    assert loop.delays_ms == (50.0, 50.2, 49.8)
    assert loop.gain == 1.0


def test_callbacks_that_are_kept_waiting_move_no_clock() -> None:
    timeline = Timeline(RATE_HZ)
    for block in range(100):
        timeline.note(7.0 + block * 0.01 + (0.03 if block % 4 == 0 else 0.0), block * 480)
    assert timeline.zero_s(24_000) == pytest.approx(7.0)


def loop(**changes: object) -> Loop:
    values = {"delays_ms": (41.0,) * 8, "gain": 0.5, "noise_dbfs": -60.0, "peak_dbfs": -20.0, "clipped": 0}
    return Loop(**{**values, **changes})  # type: ignore[arg-type]


def told(found: Loop, accidents: int = 0, *, keeps_echo_away: bool = True, **config: float) -> list[Result]:
    setup = replace(Room().setup(**config), keeps_echo_away=keeps_echo_away)
    return latency.told(Measured(found, "speaker", "mic", (20.0, 20.0), accidents), setup)


def test_what_was_heard_is_told_with_delay_level_and_polarity() -> None:
    delay, level, echo = told(loop(gain=-0.5))
    assert {delay.verdict, level.verdict, echo.verdict} == {Verdict.OK}
    assert delay.found.startswith("41.0 ms from speaker to mic, 8 of 8 marks")
    assert level.found == "-24 dBFS at the microphone, 36 dB above its noise, upside down"


@pytest.mark.parametrize(
    ("found", "word", "verdict"),
    [
        (loop(delays_ms=(40.0, 47.0, 41.0, 42.0)), "not steady", Verdict.WARN),
        (loop(clipped=12), "down", Verdict.WARN),
        (loop(noise_dbfs=-30.0), "nearer", Verdict.WARN),
        (loop(delays_ms=(), peak_dbfs=-120.0), "unmute", Verdict.FAIL),
        (loop(delays_ms=(), clipped=900), "down", Verdict.FAIL),
        (loop(delays_ms=(40.0,)), "turn the speaker up", Verdict.FAIL),
    ],
)
def test_each_trouble_has_its_fix(found: Loop, word: str, verdict: Verdict) -> None:
    results = [result for result in told(found) if result.verdict is not Verdict.OK]
    assert [result.verdict for result in results] == [verdict]
    assert word in results[0].fix


@pytest.mark.parametrize(
    ("gain", "kept_away", "said"),
    [
        (0.5, False, "at -6 dB: the others hear themselves"),
        (-2.0, False, "at +6 dB: the others hear themselves"),
        (0.5, True, "at -6 dB; it is kept away"),
        (0.004, False, "at -48 dB: too soft"),
    ],
)
def test_an_echo_that_nothing_keeps_away_is_told_with_its_cure(gain: float, kept_away: bool, said: str) -> None:
    _, _, echo = told(loop(gain=gain, noise_dbfs=-99.0), keeps_echo_away=kept_away)
    assert said in echo.found
    assert ("echo_cancellation: true" in echo.fix) is (echo.verdict is Verdict.WARN) is ("themselves" in said)


@pytest.mark.parametrize(
    ("volume", "input_volume", "said"),
    [
        (1.0, 4.0, "at -36 dB, with the volumes of alto.yaml: the others hear themselves"),
        (0.5, 1.0, "at -54 dB, with the volumes of alto.yaml: too soft"),
        (2.0, 0.5, "at -48 dB: too soft"),
        (0.0, 4.0, "too soft"),
    ],
)
def test_what_the_others_hear_of_an_echo_both_volumes_change(volume: float, input_volume: float, said: str) -> None:
    found = loop(gain=0.004, noise_dbfs=-99.0)
    assert said in told(found, keeps_echo_away=False, volume=volume, input_volume=input_volume)[2].found


def test_devices_that_lost_sound_meanwhile_are_told() -> None:
    assert told(loop(), accidents=3)[-1].found.endswith("3 times meanwhile")


def test_nothing_is_played_while_the_station_has_the_devices() -> None:
    room = Room()
    (result,) = examine(room.setup(), station_runs=True)
    assert "systemctl stop alto" in result.fix
    assert exit_code([result]) == 69
    assert room.backend.opened == []


def test_a_station_without_speaker_has_no_loop_and_a_missing_device_is_told() -> None:
    assert [one.verdict for one in examine(Room().setup(no_playback=True), station_runs=False)] == [Verdict.SKIP]
    (result,) = examine(Room().setup(input_device="Headset"), station_runs=False)
    assert (result.verdict, "Headset" in result.found) == (Verdict.FAIL, True)


# ---- real PCMs ---------------------------------------------------------------------------------------------------


class Held(PortAudioBackend):
    """The real one; from half of the measurement on, its microphone's sound comes `extra_ms` later."""

    def __init__(self, extra_ms: float, after_s: float) -> None:
        super().__init__()
        self._extra = round(extra_ms * RATE_HZ / 1000)
        self._after = round(after_s * RATE_HZ)

    def open_capture(self, spec: StreamSpec, callback: CaptureCallback) -> AudioStream:
        past = np.zeros((self._extra, spec.channels), np.int16)
        heard = 0

        def later(block: Block, overflowed: bool) -> None:
            nonlocal past, heard
            heard += len(block)
            whole = np.concatenate((past, block))
            past = whole[len(block) :]
            callback(whole[: len(block)] if heard > self._after else block, overflowed)

        return super().open_capture(spec, later)


@pytest.fixture
def cable(sound: VirtualSound) -> Iterator[tuple[str, str]]:
    """(speaker, microphone) that hears it: what is played into PulseAudio's sink is what its monitor gives."""
    station = sound.station("kitchen")
    with looped(sound, station) as microphone:
        yield station.speaker_pcm, microphone


@pytest.mark.device
@pytest.mark.slow
def test_a_known_delay_in_a_real_loop_is_told_within_two_milliseconds(cable: tuple[str, str]) -> None:
    speaker, microphone = cable
    half_s = marks.LEAD_S + marks.MARKS / 2 * marks.PERIOD_S - 0.1
    config = AudioConfig(input_device=microphone, output_device=speaker)
    setup = Setup(Held(EXTRA_MS, half_s), config, SystemClock(), LEVEL_DBFS)
    with going_first():
        found = measure(setup).loop
    assert len(found.delays_ms) == marks.MARKS
    first, last = found.delays_ms[: marks.MARKS // 2], found.delays_ms[marks.MARKS // 2 :]
    assert np.median(last) - np.median(first) == pytest.approx(EXTRA_MS, abs=2.0)


@pytest.mark.device
@pytest.mark.slow
def test_the_command_measures_what_alto_yaml_names(cable: tuple[str, str], tmp_path: Path) -> None:
    speaker, microphone = cable
    audio = f"audio: {{input: {{device: {microphone}}}, output: {{device: {speaker}}}}}"
    (tmp_path / "alto.yaml").write_text(f"livekit: {{url: 'ws://127.0.0.1:1', token: t}}\n{audio}\n")
    command = [sys.executable, "-m", "appliance", "doctor", "--latency", "--json", "-c", str(tmp_path / "alto.yaml")]
    command += ["--socket", str(tmp_path / "none.sock")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60.0)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {one["check"]: one for one in json.loads(done.stdout)["results"]}
    assert f"ms from {speaker} to {microphone}, 8 of 8 marks" in results["loop latency"]["found"]
    assert results["loop level"]["found"].startswith("-18 dBFS at the microphone")
    assert (results["echo"]["verdict"], "at +0 dB" in results["echo"]["found"]) == ("warn", True)
