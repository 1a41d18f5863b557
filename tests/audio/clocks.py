"""A microphone, a network and a speaker that each have a clock of their own, in simulated time: hours in seconds.

`Call` is the way in, `Talk` the way out; the parts that sound goes through are the real ones. What they are compared
with is known here and nowhere else: when each frame and each block was due, and at what rate the device really runs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from appliance.audio.config import AudioConfig
from appliance.audio.convert import PlaybackConverter
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.mixer import AudioMixer
from appliance.ports import Block, DeviceInfo, Samples
from tests.audio.sounds import FRAME, RATE_HZ, distortion_db, tone
from tests.fakes.backend import FakeBackend

TONE_HZ = 1033  # no whole number of periods in a frame: whatever is lost or doubled leaves a jump in the phase
EAR_S = 0.2  # length of each sample of the sound that is judged


@dataclass
class HandClock:
    """`ports.Clock` that stands where it is put."""

    now_s: float = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Conditions:
    """What the network and the speaker are like."""

    device_hz: int = 48000
    """Rate that the device says it runs at."""
    device_ppm: Callable[[float], float] = lambda _seconds: 0.0
    """By how much it runs faster than that, over time."""
    network_ppm: float = 100.0
    """By how much the frames come faster than one in 10 ms (100 ppm were measured of the SDK)."""
    block_ms: float = 10.0
    bunch: int = 1
    """Callbacks that come at once."""
    callback_jitter_s: float = 0.0003
    """Mean lateness of callbacks, exponential."""
    frame_jitter_s: float = 0.0005
    """Mean lateness of frames, exponential."""
    late_a_minute: float = 0.0
    """Stalls a minute in which frames pile up."""
    late_s: tuple[float, float] = (0.02, 0.05)
    """Shortest and longest of them."""
    late_at_s: tuple[float, ...] = ()
    """When there is one, if not at random."""
    stall_at_s: float = math.inf
    """When the speaker does not ask for anything, for `stall_s`."""
    stall_s: float = 0.0
    pauses: bool = False
    """Whether the tone pauses for 0.2 s in each second, as people do."""
    playout_ms: int = 20

    @property
    def block(self) -> int:
        """Samples of a callback."""
        return round(self.device_hz * self.block_ms / 1000)

    def true_hz(self, at_s: float) -> float:
        """What the device's rate really is then, in seconds since the beginning."""
        return self.device_hz * (1 + self.device_ppm(at_s) / 1e6)


def ramp(mean_ppm: float, swing_ppm: float, period_s: float) -> Conditions:
    """A crystal that warms up and cools down."""
    return Conditions(device_ppm=lambda s: mean_ppm + swing_ppm * math.sin(2 * math.pi * s / period_s))


def callbacks(conditions: Conditions, rng: random.Random, begin_s: float) -> Iterator[tuple[float, float, bool]]:
    """Of a device: (when one was due, when it came, whether it is the last of a bunch)."""
    elapsed_s = begin_s + 0.0837  # it was opened at some time, in no step with the network
    while True:
        due_s = elapsed_s
        came_s = due_s + min(0.008, rng.expovariate(1 / conditions.callback_jitter_s))
        for turn in range(conditions.bunch):
            yield due_s, came_s, turn == conditions.bunch - 1
            took_s = conditions.block / conditions.true_hz(elapsed_s - begin_s)
            stalls = elapsed_s < begin_s + conditions.stall_at_s <= elapsed_s + took_s
            elapsed_s += took_s + stalls * conditions.stall_s


@dataclass
class Heard:
    """What is known at the end."""

    seconds: float = 0.0
    underruns: int = 0
    trimmed_ms: float = 0.0
    stretched_ms: float = 0.0
    dropped: int = 0
    errors: int = 0
    off_target_ms: float = 0.0
    """Largest distance of the true wait from the target, settled."""
    off_target_share: float = 0.0
    """Share of blocks for which that was more than 5 ms."""
    off_target_s: float = 0.0
    """Longest time in a row for which that was so."""
    pitch_cents: float = 0.0
    """Largest error of the pitch, settled."""
    distortion_db: float = -200.0
    """Worst THD+N of all samples of the sound in which nothing was cut or played again."""
    judged: int = 0
    """Samples of the sound that were judged."""
    target_ms: tuple[float, float] = (math.inf, 0.0)
    wait_ms: list[float] = field(default_factory=list)
    """The true wait, once a second."""


class Call:
    """One voice from a network to a speaker."""

    def __init__(self, conditions: Conditions, *, seed: int = 1) -> None:
        self.conditions = conditions
        self.clock = HandClock()
        self.mixer = AudioMixer(playout_ms=conditions.playout_ms, clock=self.clock)
        self.block = conditions.block
        self.converter = PlaybackConverter(
            device_hz=conditions.device_hz,
            rate_hz=RATE_HZ,
            block_frames=self.block,
            pull=self.mixer.mix_into,
            speed=lambda: self.mixer.speed,
        )
        self._random = random.Random(seed)
        self._sound = tone(TONE_HZ, 1.0)
        if conditions.pauses:
            self._sound[: RATE_HZ // 5] = 0
        self._begin_s = self.clock.now_s
        self._frames = self._arrivals()
        self._next = next(self._frames)

    # ---- the network's clock

    def _arrivals(self) -> Iterator[tuple[float, Samples]]:
        """When each frame comes, never before the one before it, and the frame."""
        conditions, rng = self.conditions, self._random
        pace_s = 0.01 / (1 + conditions.network_ppm / 1e6)
        stall_s, stalled_until_s, came_s, number = self._stall_after(self.clock.now_s), 0.0, 0.0, 0
        while True:
            due_s = self._begin_s + number * pace_s
            if due_s >= stall_s:
                stalled_until_s = due_s + rng.uniform(*conditions.late_s)
                stall_s = self._stall_after(stalled_until_s)
            late_s = rng.expovariate(1 / conditions.frame_jitter_s) if conditions.frame_jitter_s else 0.0
            came_s = max(came_s, due_s + min(late_s, 0.005), stalled_until_s)
            begin = number * FRAME % self._sound.size
            yield came_s, self._sound[begin : begin + FRAME]
            number += 1

    def _stall_after(self, at_s: float) -> float:
        for stall_s in self.conditions.late_at_s:
            if self._begin_s + stall_s > at_s:
                return self._begin_s + stall_s
        rate = self.conditions.late_a_minute / 60
        return at_s + self._random.expovariate(rate) if rate else math.inf

    # ---- the call

    def run(
        self,
        seconds: float,
        *,
        settle_s: float = 60.0,
        every_s: float = 10.0,
        each_hour: Callable[[Heard], None] = lambda _heard: None,
    ) -> Heard:
        """Let so much time pass. Delay and pitch are judged after `settle_s`, the sound every `every_s`."""
        heard, out = Heard(), np.zeros((self.block, 1), np.int16)
        ear, listen_s = _Ear(self.conditions.device_hz, self._jumps), self._begin_s + settle_s
        blocks = off = 0
        on_target_s = second_s = self._begin_s
        for due_s, came_s, last in callbacks(self.conditions, self._random, self._begin_s):
            if due_s - self._begin_s >= seconds:
                break
            self._deliver(came_s)
            self.clock.now_s = came_s
            speed = self.mixer.speed
            self.converter.fill(out)
            settled = due_s - self._begin_s >= settle_s
            if settled and last:
                away_ms = self._judge(heard, due_s, speed)
                blocks, off = blocks + 1, off + (away_ms > 5)
                on_target_s = max(on_target_s, self._begin_s + settle_s) if away_ms > 5 else due_s
                heard.off_target_s = max(heard.off_target_s, due_s - on_target_s)
            if due_s >= second_s and last:
                heard.seconds = second_s - self._begin_s
                heard.off_target_share = off / max(1, blocks)
                if heard.seconds and heard.seconds % 3600 == 0:
                    each_hour(self._sum_up(heard))
                heard.wait_ms.append(1000 * self._true_wait_s(due_s))
                second_s += 1.0
            if due_s >= listen_s and ear.listen(out[:, 0]):
                ear.tell(heard)
                listen_s += every_s
        heard.off_target_share = off / max(1, blocks)
        heard.seconds = seconds
        return self._sum_up(heard)

    def _deliver(self, until_s: float) -> None:
        while self._next[0] <= until_s:
            self.clock.now_s = self._next[0]
            self.mixer.add_audio_data(self._next[1], "bob")
            self._next = next(self._frames)

    def _judge(self, heard: Heard, due_s: float, speed: float) -> float:
        buffer = self.mixer._voices[0].buffer
        target_ms = 1000 * buffer.target_s
        away_ms = abs(1000 * self._true_wait_s(due_s) - target_ms)
        heard.off_target_ms = max(heard.off_target_ms, away_ms)
        heard.target_ms = (min(heard.target_ms[0], target_ms), max(heard.target_ms[1], target_ms))
        conditions = self.conditions
        true = (1 + conditions.device_ppm(due_s - self._begin_s) / 1e6) / (1 + conditions.network_ppm / 1e6)
        heard.pitch_cents = max(heard.pitch_cents, abs(1200 * math.log2(speed * true)))
        return away_ms

    def _true_wait_s(self, due_s: float) -> float:
        """From when the next frame boundary after what was read last was due, to when the block was due."""
        position = self.mixer._voices[0].buffer._ring.position
        return due_s - self._begin_s - (position / FRAME - 1) * 0.01 / (1 + self.conditions.network_ppm / 1e6)

    def _sum_up(self, heard: Heard) -> Heard:
        metrics = self.mixer.get_metrics()
        voice = metrics["per_stream"]["bob"]  # type: ignore[index]
        heard.underruns, heard.dropped = voice["underruns"], metrics["dropped"]  # type: ignore[assignment]
        heard.trimmed_ms, heard.stretched_ms = metrics["trimmed_ms"], metrics["stretched_ms"]  # type: ignore[assignment]
        heard.errors = metrics["errors"]  # type: ignore[assignment]
        return heard

    def _jumps(self) -> tuple[int, int]:
        buffer = self.mixer._voices[0].buffer
        return buffer.trimmed + buffer.underruns, buffer.stretched


@dataclass
class Said:
    """What is known at the end of a `Talk`."""

    seconds: float = 0.0
    frames: int = 0
    """That were sent."""
    off_ms: float = 0.0
    """Largest distance of what was sent from where it was when that settled: a listener's buffer grows by it."""
    pitch_cents: float = 0.0
    distortion_db: float = -200.0
    judged: int = 0
    dropped: int = 0


class Talk:
    """A microphone, which hears a tone, to the frames that leave. Its callbacks are those of `Conditions`."""

    def __init__(self, conditions: Conditions, *, seed: int = 1) -> None:
        self.conditions = conditions
        self.clock = HandClock()
        device = DeviceInfo("hw:0", "Box", card_id="Box", input_channels=1, rates_hz=(conditions.device_hz,))
        self.handler = AudioInputHandler(
            config=AudioConfig(input_device="hw:0", samples_per_channel=round(RATE_HZ * conditions.block_ms / 1000)),
            backend=FakeBackend([device]),
            clock=self.clock,
        )
        self.handler.open()
        self._random = random.Random(seed)
        self._begin_s = self.clock.now_s
        self._phase = 0.0
        self._counts = np.arange(1, conditions.block + 1)
        self._wave = np.exp(-2j * np.pi * TONE_HZ * np.arange(FRAME) / RATE_HZ) * np.hanning(FRAME)
        self._turn = 2 * math.pi * TONE_HZ * FRAME / RATE_HZ

    def run(self, seconds: float, *, settle_s: float = 60.0, every_s: float = 10.0) -> Said:
        """Let so much time pass. What leaves is judged after `settle_s`, the sound every `every_s`."""
        said, frame, where = Said(seconds=seconds), np.zeros(FRAME, np.int16), _Place()
        ear, listen_s = _Ear(RATE_HZ, lambda: self.handler.frames.dropped), self._begin_s + settle_s
        begin_s = self._begin_s + settle_s
        for due_s, came_s, _ in callbacks(self.conditions, self._random, self._begin_s):
            if due_s - self._begin_s >= seconds:
                break
            self.clock.now_s = came_s
            true_hz = self.conditions.true_hz(due_s - self._begin_s)
            self.handler._audio_callback(self._heard(true_hz), False)
            while self.handler.timed.take(frame):
                said.frames += 1
                place_ms = where.after(self._angle(frame, said.frames))
                if due_s < begin_s:
                    settled_ms = place_ms
                else:
                    said.off_ms = max(said.off_ms, abs(place_ms - settled_ms))
                    self._judge(said, true_hz)
                if due_s >= listen_s and ear.listen(frame):
                    ear.tell(said)
                    listen_s += every_s
        said.dropped = self.handler.frames.dropped
        return said

    def _heard(self, true_hz: float) -> Block:
        """A block of the tone as a converter at that rate takes it."""
        phases = self._phase + 2 * np.pi * TONE_HZ / true_hz * self._counts
        self._phase = phases[-1] % (2 * np.pi)
        return np.round(8000 * np.sin(phases)).astype(np.int16)[:, np.newaxis]

    def _angle(self, frame: Samples, number: int) -> float:
        """The tone's phase, less what it would be were every frame exactly 10 ms."""
        return float(np.angle(np.dot(frame, self._wave))) - self._turn * (number - 1)

    def _judge(self, said: Said, true_hz: float) -> None:
        true = true_hz / self.conditions.device_hz
        said.pitch_cents = max(said.pitch_cents, abs(1200 * math.log2(self.handler.timed.speed / true)))


class _Place:
    """Phases of the tone, in turns of a period, as a time that has none."""

    def __init__(self) -> None:
        self._angle = 0.0

    def after(self, angle: float) -> float:
        """In ms, of the next."""
        self._angle += (angle - self._angle + math.pi) % (2 * math.pi) - math.pi
        return self._angle / (2 * math.pi * TONE_HZ) * 1000


class _Ear:
    """Collects a piece of what is played and judges it, unless something was cut or played again meanwhile."""

    def __init__(self, rate_hz: int, jumps: Callable[[], object]) -> None:
        """`jumps`: something that changes when something is cut or played again."""
        self._rate_hz = rate_hz
        self._jumps = jumps
        self._pieces: list[Samples] = []
        self._jumped: object = None

    def listen(self, played: Samples) -> bool:
        """True when there is enough."""
        if not self._pieces:
            self._jumped = self._jumps()
        self._pieces.append(played.copy())
        return sum(piece.size for piece in self._pieces) >= EAR_S * self._rate_hz

    def tell(self, heard: Heard | Said) -> None:
        """Judge it and begin anew."""
        sound, self._pieces = np.concatenate(self._pieces), []
        if self._jumped == self._jumps():
            heard.judged += 1
            heard.distortion_db = max(heard.distortion_db, distortion_db(sound, self._rate_hz))
