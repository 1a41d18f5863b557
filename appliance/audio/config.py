"""`AudioConfig`: the flat numbers that the audio parts need, made from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.errors import AltoError, Policy
from appliance.ports import AUDIO_FRAME_MS, Direction

RATES_HZ: Final = (8000, 16000, 24000, 32000, 48000)  # whole samples in 10 ms, and what the SDK encodes

CHANNELS: Final = ("mix", "left", "right")

LATENCY_BLOCKS: Final = 2.0  # two blocks: one is played or filled while the other waits, the least that can work
LATENCY_MIN_S: Final = 0.015  # a busy machine stands still for 10 ms now and then, and two of the shortest are no more


class AudioConfigInvalid(AltoError):
    """A number that the native code would abort the process on; refused in Python first."""

    policy = Policy.EXIT
    reason = "audio_config"


@dataclass(frozen=True, slots=True)
class HardwareLevel:
    """What a volume control of a sound card is to be set to."""

    control: str
    """Its name, as alsamixer shows it."""
    level: str
    """`70%` of its range, or `-6dB`."""


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """How the audio parts run. Field names are the description's; more of them have defaults.

    Raises AudioConfigInvalid when made with numbers that the parts cannot run with.
    """

    sample_rate: int = 48000
    """Hz, inside alto and towards the room."""
    num_channels: int = 1
    """Inside alto everything is mono; devices with more channels are mixed down and up."""
    samples_per_channel: int = 480
    """Frames of a device block. 480 (10 ms) instead of the description's 2400 (50 ms): see ARCHITECTURE, delay."""
    output_samples_per_channel: int | None = None
    """Frames of a block of the speaker; None: as many as of the microphone's."""
    input_device: str | None = None
    """What `alto devices` prints, a card id or part of a name; None: the default."""
    output_device: str | None = None
    volume: float = 1.0
    """Master volume of the speaker, 0.0 to 4.0."""
    no_playback: bool = False
    """Talk only: nothing is played."""
    no_capture: bool = False
    """Listen only: no microphone is opened."""
    input_channel: str = "mix"
    """`mix`, or of a stereo microphone `left` or `right` alone."""
    input_volume: float = 1.0
    """Gain of the microphone, 0.0 to 4.0."""
    mix: str = "average"
    """`average` of the voices that sound, or `sum` with a limiter."""
    playout_ms: int = 20
    """Sound held back for each voice before it plays."""
    max_streams: int = 8
    """How many voices are played at once; of more, those that spoke last."""
    input_latency_ms: float | None = None
    """Asked of the device; None: twice the block, and no less than 15 ms; more where it runs dry (`reserve.py`)."""
    output_latency_ms: float | None = None
    input_control: HardwareLevel | None = None
    """The sound card's own volume for the microphone, set at each open; None: left as it is."""
    output_control: HardwareLevel | None = None

    def __post_init__(self) -> None:
        if self.sample_rate not in RATES_HZ:
            raise AudioConfigInvalid(f"sample_rate {self.sample_rate} Hz", fix=f"use one of {RATES_HZ}")
        if self.num_channels != 1:
            raise AudioConfigInvalid(f"num_channels {self.num_channels}", fix="use 1: devices are mixed to mono")
        for name in ("samples_per_channel", "output_samples_per_channel"):
            samples = getattr(self, name)
            if samples is not None and not 16 <= samples <= self.sample_rate:
                raise AudioConfigInvalid(f"{name} {samples}", fix=f"use 16 to {self.sample_rate}")
        for name in ("volume", "input_volume"):
            value = getattr(self, name)
            if not 0.0 <= value <= 4.0:
                raise AudioConfigInvalid(f"{name} {value}", fix="use 0.0 to 4.0")
        if self.mix not in ("average", "sum"):
            raise AudioConfigInvalid(f"mix {self.mix!r}", fix="use average or sum")
        if self.input_channel not in CHANNELS:
            raise AudioConfigInvalid(f"input_channel {self.input_channel!r}", fix=f"use one of {CHANNELS}")
        if self.playout_ms < AUDIO_FRAME_MS:
            raise AudioConfigInvalid(f"playout_ms {self.playout_ms}", fix=f"use {AUDIO_FRAME_MS} or more")
        if self.max_streams < 1:
            raise AudioConfigInvalid(f"max_streams {self.max_streams}", fix="use 1 or more")

    @property
    def frame_samples(self) -> int:
        """Samples of the 10 ms chunks between the parts."""
        return self.sample_rate * AUDIO_FRAME_MS // 1000

    def block_samples(self, direction: Direction) -> int:
        """Frames of a block of that device, at `sample_rate`."""
        own = self.output_samples_per_channel if direction is Direction.OUTPUT else None
        return own or self.samples_per_channel

    def block_s(self, direction: Direction) -> float:
        """Length of a block of that device."""
        return self.block_samples(direction) / self.sample_rate

    def latency_s(self, direction: Direction, times: int = 1) -> float:
        """How much sound that device is asked to hold: what is named, else so many times the usual."""
        own_ms = self.input_latency_ms if direction is Direction.INPUT else self.output_latency_ms
        if own_ms is not None:
            return own_ms / 1000
        return times * max(LATENCY_MIN_S, LATENCY_BLOCKS * self.block_s(direction))
