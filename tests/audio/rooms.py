"""Simulated rooms, and an intercom in one: what two clocks, a small speaker and four walls make of speech.

All signals are made here from seeds, float64 at int16's scale. The intercom is alto's real reference ring, frames and
(by choice) the SDK's processor; only the devices are simulated, in virtual time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from appliance.audio.drift import Envelope
from appliance.audio.pcm import F32
from appliance.audio.processing import ProcessedFrames, Treatment
from appliance.audio.reference import Reference
from appliance.audio.ring import FrameRing
from appliance.audio.timed import SPARE_S, TimedFrames
from appliance.audio.varispeed import POINTS, Varispeed
from appliance.network.processing import SdkProcessor
from appliance.ports import Processing, Samples
from appliance.settings.model import Duplex

F64 = NDArray[np.float64]

RATE_HZ: Final = 16000  # the canceller's bands above 8 kHz follow those below; a third of the time
SOUND_M_S: Final = 343.0
VOICE_RMS: Final = 2000.0  # −24 dBFS
FRAME_S: Final = 0.01


def speech(seconds: float, seed: int, rate_hz: int = RATE_HZ, *, pitch_hz: float = 120.0) -> F64:
    """Like somebody who talks: voiced syllables with moving formants, breath, and pauses between the words."""
    rng = np.random.default_rng(seed)
    pieces: list[F64] = []
    while sum(map(len, pieces)) < seconds * rate_hz:
        for _ in range(int(rng.integers(2, 6))):
            pieces.append(_syllable(rng, rate_hz, pitch_hz * rng.uniform(0.85, 1.2)))
        pieces.append(np.zeros(round(rng.uniform(0.1, 0.3) * rate_hz)))
    sound = np.concatenate(pieces)[: round(seconds * rate_hz)]
    return sound * (VOICE_RMS / math.sqrt(float(np.mean(sound**2))))


def _syllable(rng: np.random.Generator, rate_hz: int, pitch_hz: float) -> F64:
    size = round(rng.uniform(0.12, 0.28) * rate_hz)
    t = np.arange(size) / rate_hz
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6)))) / rate_hz
    formants = [rng.uniform(low, high) for low, high in ((300, 800), (900, 2200), (2300, 3200), (3500, 6000))]
    sound = np.zeros(size)
    for harmonic in range(1, int(min(7000.0, rate_hz / 2.2) / pitch_hz)):
        hz = harmonic * pitch_hz
        loud = sum(math.exp(-(((hz - formant) / 250) ** 2)) for formant in formants) + 0.03
        sound += loud / harmonic**0.5 * np.sin(harmonic * phase)
    breath = rng.standard_normal(size) * 0.15
    return (sound + breath) * np.sin(np.pi * np.arange(size) / size) ** 0.5


def room(reverberation_s: float, distance_m: float, seed: int = 0, rate_hz: int = RATE_HZ) -> F64:
    """Impulse response by image sources, from a speaker to a microphone so far away, 1.0 loud at a metre."""
    size = np.array([4.1, 3.3, 2.6])
    rng = np.random.default_rng(seed)
    speaker = size * rng.uniform(0.3, 0.6, 3)
    microphone = speaker + np.array([distance_m, 0.0, 0.0])
    volume, surface = float(np.prod(size)), 2 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = 1 - math.exp(-0.161 * volume / (surface * reverberation_s))  # Eyring's formula
    reflected = math.sqrt(1 - absorbed)
    response = np.zeros(round(reverberation_s * rate_hz) + rate_hz // 50)
    most = [math.ceil(len(response) / rate_hz * SOUND_M_S / (2 * edge)) for edge in size]
    numbers = np.array(list(product(*(range(-m, m + 1) for m in most))))
    for parity in product((0, 1), repeat=3):
        sign = 1 - 2 * np.array(parity)
        way = np.linalg.norm(sign * speaker + 2 * numbers * size - microphone, axis=1)
        bounces = np.abs(2 * numbers - np.array(parity)).sum(axis=1)
        at = np.round(way / SOUND_M_S * rate_hz).astype(int)
        heard = at < len(response)
        np.add.at(response, at[heard], (reflected**bounces / np.maximum(way, 0.02))[heard])
    return response


def convolve(sound: F64, response: F64) -> F64:
    """As long as `sound`."""
    size = 1 << (len(sound) + len(response)).bit_length()
    spectrum = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(spectrum, size)[: len(sound)]


def small_speaker(sound: F64, drive: float) -> F64:
    """Bends what is loud: `drive` 0.3 is a small one at its limit (3 % of distortion), 0.0 an ideal one."""
    if not drive:
        return sound
    top = 8000.0 / drive
    return top * np.tanh((sound + 0.1 * drive * sound**2 / 8000.0) / top)


def power_db(sound: F64 | Samples) -> float:
    """Mean power, 0 dB being 1.0²."""
    return 10 * math.log10(float(np.mean(np.square(sound, dtype=np.float64))) + 1e-9)


CANCELS: Final = Treatment(Processing(echo_cancellation=True))
HALF: Final = Treatment(duplex=Duplex.HALF)
DUCKING: Final = Treatment(duplex=Duplex.DUCKING)


@dataclass
class Intercom:
    """A station's microphone path, with a speaker in the same room. Times are virtual."""

    treatment: Treatment = CANCELS
    speaker_ppm: float = 0.0
    """How much faster than the microphone's clock the speaker's is."""
    output_s: float = 0.02
    """From the playback callback to the air."""
    hidden_s: float = 0.0
    """The same, of which no time stamp tells."""
    input_s: float = 0.005
    jitter_s: float = 0.0003
    """By which time stamps are late, at random."""
    rate_hz: int = RATE_HZ
    ducks: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.frame = round(FRAME_S * self.rate_hz)
        self.source = FrameRing(self.rate_hz)
        self.captured, self.handed = Envelope(self.rate_hz), Envelope(self.rate_hz)
        self.reference = Reference(self.rate_hz)
        self.duck = 1.0
        self.frames = ProcessedFrames(
            source=TimedFrames(source=self.source, captured=self.captured, handed=self.handed, rate_hz=self.rate_hz),
            reference=self.reference,
            rate_hz=self.rate_hz,
            new_processor=SdkProcessor,
            set_duck=self._set_duck,
        )
        self.frames.use(self.treatment)
        self.reference.opened(self.rate_hz)
        self._rng = np.random.default_rng(5)
        self._played = 0

    @property
    def late(self) -> int:
        """Samples by which sound leaves later than it came."""
        return POINTS // 2 + round(SPARE_S * self.rate_hz)

    def _set_duck(self, gain: float) -> None:
        self.duck = gain

    def in_the_air(self, far: F64) -> F64:
        """What leaves the speaker, by the microphone's clock, from its first sample on."""
        pcm, at = np.clip(np.round(far), -32768, 32767).astype(np.int16), 0

        def pull(out: F32) -> None:
            nonlocal at
            piece = pcm[at : at + out.size]
            out[: piece.size], out[piece.size :] = piece, 0
            at += out.size

        heard = np.zeros(len(far), np.int16)
        Varispeed(pull).fill(heard, 1 + self.speaker_ppm * 1e-6)
        delay = round((self.output_s + self.hidden_s) * self.rate_hz)
        return np.concatenate([np.zeros(delay), heard.astype(np.float64)])[: len(far)]

    def hear(self, far: F64, microphone: F64) -> Samples:
        """Play `far` (by the speaker's clock) and take what is sent of `microphone` (by the microphone's)."""
        played = np.clip(np.round(far), -32768, 32767).astype(np.int16)
        recorded = np.clip(np.round(microphone), -32768, 32767).astype(np.int16)
        sent = np.zeros(len(recorded) // self.frame * self.frame, np.int16)
        for begin in range(0, sent.size, self.frame):
            now_s = (begin + self.frame) / self.rate_hz
            self.play_until(now_s, played)
            self.capture(now_s, recorded[begin : begin + self.frame])
            assert self.frames.take(sent[begin : begin + self.frame])
            self.ducks.append(self.duck)
        return sent

    def play_until(self, now_s: float, played: Samples) -> None:
        while (called_s := self._played / self.rate_hz / (1 + self.speaker_ppm * 1e-6)) <= now_s:
            block = played[self._played : self._played + self.frame]
            if block.size < self.frame:
                return
            self.reference.played(block, called_s + self.output_s + self._late_s())
            self._played += self.frame

    def capture(self, now_s: float, block: Samples) -> None:
        self.captured.note(now_s - FRAME_S + self._late_s(), self.source.written)
        self.handed.note(now_s, self.source.written)
        self.source.write(block)

    def _late_s(self) -> float:
        return abs(self._rng.normal(0, self.jitter_s)) if self.jitter_s else 0.0


def kept_db(sent: Samples, near: F64) -> float:
    """By how much a voice is left in what was sent: 0.0 entirely, −6.0 half its amplitude.

    What in `sent` goes with `near`, frequency by frequency, whatever filters did to delay and phase.
    """
    window, spectra = np.hanning(1024), []
    for sound in (np.roll(sent.astype(np.float64), -_delay(sent, near)), near):
        frames = np.lib.stride_tricks.sliding_window_view(sound, window.size)[:: window.size // 2]
        spectra.append(np.fft.rfft(frames * window, axis=1))
    ours, voice = spectra
    in_common = np.abs(np.sum(ours * np.conj(voice), axis=0)) ** 2 / (np.sum(np.abs(voice) ** 2, axis=0) + 1e-9)
    return 10 * math.log10(float(np.sum(in_common)) / float(np.sum(np.abs(voice) ** 2)))


def _delay(sent: Samples, near: F64) -> int:
    size = 1 << (2 * len(near)).bit_length()
    match = np.fft.irfft(np.fft.rfft(sent.astype(np.float64), size) * np.conj(np.fft.rfft(near, size)), size)
    return int(np.argmax(np.abs(match[: RATE_HZ // 10])))
