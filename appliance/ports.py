"""Every seam of alto on one page.

A part asks for one of these by keyword and never learns who stands behind it; `app.py` alone names the concrete
classes. The fakes of the tests implement the same Protocols and are held to the real parts by `tests/contracts/`.

Units are in the names: `_hz`, `_s`, `_ms`, `_frames` (one frame = one sample for each channel), `_dbfs`.
Audio between the parts is mono int16 at `AudioConfig.sample_rate` in chunks of exactly 10 ms (`AUDIO_FRAME_MS`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from appliance.settings.changes import Changes
    from appliance.settings.model import Settings

T = TypeVar("T")

Samples = NDArray[np.int16]
"""Mono int16 PCM, shape (n,)."""

Block = NDArray[np.int16]
"""A device's block of interleaved int16 PCM, shape (frames, channels)."""

AUDIO_FRAME_MS: Final = 10  # the SDK's direct path takes exactly 10 ms and refuses (or aborts on) anything else


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float: ...

    def time(self) -> float: ...


# ---- sound devices -----------------------------------------------------------------------------------------------


class Direction(StrEnum):
    """Which way a device carries sound."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One thing that can be pasted into alto.yaml."""

    pcm: str
    """The ALSA string to paste: stable across reboots and card order, e.g. `plughw:CARD=Device`."""
    name: str
    """What a person calls it: the card's long name or the PCM's description."""
    card_id: str = ""
    """ALSA's card id (`Device`); empty for a PCM that is not a card (`default`, one of asound.conf)."""
    card_index: int | None = None
    """Where ALSA counts it now, for who writes `hw:1,0`; another boot may count otherwise."""
    input_channels: int = 0
    """Most channels it captures; 0: it cannot capture."""
    output_channels: int = 0
    """Most channels it plays; 0: it cannot play."""
    rates_hz: tuple[int, ...] = ()
    """Rates the hardware itself runs at; empty: not known (busy, or a plugin that takes any)."""
    default: bool = False
    """Whether this one is used when alto.yaml names none."""
    busy: str = ""
    """Who holds it, in words, when somebody else does."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How to open one direction of one device."""

    pcm: str
    rate_hz: int
    channels: int
    block_frames: int
    latency_s: float
    """What PortAudio is asked for; what it grants is in `AudioStream.latency_s`."""


class CaptureCallback(Protocol):
    """Called on the audio thread with each captured block. Must copy, count and return; never raises."""

    def __call__(self, block: Block, overflowed: bool) -> None: ...


class PlaybackCallback(Protocol):
    """Called on the audio thread; fills `out`, shape (frames, channels), completely. Never raises."""

    def __call__(self, out: Block, underflowed: bool) -> None: ...


class AudioStream(Protocol):
    """An open, running direction of a device."""

    @property
    def pcm(self) -> str: ...

    @property
    def rate_hz(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def latency_s(self) -> float: ...

    @property
    def delay_s(self) -> float:
        """From the callback that runs now to the air (playback), or from the air to it (capture): by the device's own
        time stamps, of the block's first frame. Meaningful on the audio thread, within a callback."""
        ...

    @property
    def gone(self) -> bool:
        """Whether its card was pulled out, also when it is back by now; False where that cannot be known. Quick."""
        ...

    def stand_back(self) -> None:
        """Its callbacks have stopped: have its thread wait behind all others, instead of in real time, until it calls
        back again. Any thread; quick; while it is called back nothing is lost by it."""
        ...

    def close(self) -> None:
        """Stop the callbacks and free the device; after it returns no callback runs. Idempotent. May take 0.3 s."""
        ...


class AudioBackend(Protocol):
    """Real or fake sound devices. Its methods block: they are called on the `audio-device` worker only."""

    def devices(self) -> list[DeviceInfo]:
        """What is there right now, a card that was plugged in a moment ago included."""
        ...

    def open_capture(self, spec: StreamSpec, callback: CaptureCallback) -> AudioStream:
        """Open and start. Raises DeviceMissing, DeviceBusy, FormatUnsupported."""
        ...

    def open_playback(self, spec: StreamSpec, callback: PlaybackCallback) -> AudioStream:
        """Open and start. Raises DeviceMissing, DeviceBusy, FormatUnsupported."""
        ...

    def set_level(self, pcm: str, direction: Direction, control: str, level: str) -> None:
        """Set a volume control of the card behind `pcm`, and switch it on. `level`: `70%` of its range, or `-6dB`.
        Raises ControlMissing, AudioError."""
        ...


class BlockingCalls(Protocol):
    """Where blocking device calls run, one after the other; `DeviceWorker` is the real one."""

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Run `call` after those submitted before. Loop thread; cancelling the future does not stop a begun call."""
        ...


# ---- between audio and network ----------------------------------------------------------------------------------


class FrameSource(Protocol):
    """Where the network takes the microphone's 10 ms frames from."""

    def take(self, out: Samples) -> bool:
        """Copy the oldest whole frame into `out`, shape (rate/100,). False when there is none. Never blocks."""
        ...

    def set_wakeup(self, wakeup: Callable[[], None] | None) -> None:
        """Have `wakeup` called, on the audio thread, after each write; None: no more."""
        ...


@dataclass(frozen=True, slots=True)
class Processing:
    """What is done to the microphone's sound. False everywhere: nothing, at no cost."""

    echo_cancellation: bool = False
    noise_suppression: bool = False
    gain_control: bool = False
    high_pass: bool = False

    def __bool__(self) -> bool:
        return self.echo_cancellation or self.noise_suppression or self.gain_control or self.high_pass


class Processor(Protocol):
    """An echo canceller with what goes with it; `network.processing.SdkProcessor` is the real one. One thread's."""

    def process(self, near: Samples, far: Samples, delay_ms: int) -> None:
        """Clean 10 ms of the microphone in place, shape (rate/100,). `far`, the same shape: the next 10 ms of what the
        speaker plays, `delay_ms` before its echo is expected in `near`. Raises RuntimeError."""
        ...


class ProcessorFactory(Protocol):
    """Makes a processor that has learned nothing yet."""

    def __call__(self, processing: Processing, rate_hz: int) -> Processor: ...


class VoiceSink(Protocol):
    """Where the network puts what others say; `AudioMixer` is the real one."""

    def add_audio_data(self, audio_data: Samples, stream_id: str = "default") -> None:
        """Append. Any thread, one writer a stream. Never blocks; the oldest goes when the reader stopped."""
        ...

    def open_stream(self, stream_id: str, *, owner: str) -> None:
        """Announce a stream whose volume follows `owner` (a participant's identity)."""
        ...

    def remove_stream(self, stream_id: str) -> None:
        """Forget the stream's audio (with a fade), keep its owner's volume."""
        ...


# ---- the room ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkStats:
    """What the media path measured since the call before; None: not known (yet)."""

    rtt_ms: float | None = None
    loss_in_ratio: float | None = None
    loss_out_ratio: float | None = None
    jitter_buffer_ms: float | None = None
    concealment_ratio: float | None = None
    path: str = ""
    """The transport in use, e.g. `udp host`, `tcp relay`; empty while unknown."""
    bytes_received: int | None = None
    """All that the transport received so far, RTCP and STUN included: it moves while the path is alive, however quiet
    the room. Starts again when the SDK makes a new transport."""


class RemoteVoice(Protocol):
    """One subscribed audio track of another participant."""

    @property
    def sid(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def is_microphone(self) -> bool: ...

    @property
    def dropped_frames(self) -> int:
        """How many frames went because nobody read them in time."""
        ...

    def frames(self) -> AsyncIterator[Samples]:
        """10 ms frames as they come, silence included, until `aclose()`. At most a few wait; the oldest goes."""
        ...

    def deliver(self, take: Callable[[Samples], None]) -> bool:
        """Have `take` called with each frame instead, until `aclose()`, on any thread, one call at a time; one may be
        under way when that returns. It must not block or raise. False: this voice cannot, read `frames()`."""
        ...

    async def aclose(self) -> None:
        """End `frames()` and free the native stream. Idempotent, bounded."""
        ...


class RoomListener(Protocol):
    """Who is told what happens in the room. All calls on the loop thread; they return at once and never raise."""

    def on_participant_joined(self, identity: str) -> None: ...

    def on_participant_left(self, identity: str) -> None: ...

    def on_voice(self, voice: RemoteVoice) -> None:
        """A track is to be played: it is subscribed, not muted, and not parked (`set_max_streams`). The listener owns
        `voice` from now on and closes it."""
        ...

    def on_voice_gone(self, sid: str) -> None:
        """It is not: gone, muted, or parked."""
        ...

    def on_reconnecting(self) -> None: ...

    def on_reconnected(self) -> None: ...

    def on_closed(self, error: Exception) -> None:
        """The session is over for good; `error` is a NetworkError that says why. Called once at most, never
        after `disconnect()` was called."""
        ...


class RoomConnection(Protocol):
    """One session with the server, from connect to disconnect; never used twice. Loop thread only."""

    async def connect(self, url: str, token: str, listener: RoomListener, *, deadline_s: float) -> None:
        """Join. Raises Unreachable, Rejected, AttemptTimedOut. The native connect is never cancelled: on deadline,
        or when the caller is cancelled, it goes on in the background and a late success is closed."""
        ...

    async def publish_microphone(self, *, rate_hz: int) -> None:
        """Publish the one local track (source microphone, mono). Raises NetworkError."""
        ...

    async def send(self, frame: Samples) -> None:
        """Hand one 10 ms frame to the encoder, which may take it later: what befalls it then, the next call raises.
        Raises NetworkError when the session ended, Stalled when the encoder has taken nothing for 2 s."""
        ...

    async def stats(self) -> LinkStats: ...

    def set_max_streams(self, most: int) -> None:
        """Tell of so many voices at once, at most (1 or more): of those that are not muted, the ones that spoke last.
        The others are parked, and cost nothing, until they speak or one of those goes (`network/floor.py`). To be set
        before joining, else everybody is told of; counts at once while joined."""
        ...

    @property
    def participants(self) -> tuple[str, ...]:
        """Identities of the others who are in the room now."""
        ...

    @property
    def parked(self) -> tuple[str, ...]:
        """Identities of those of them whose voices are parked."""
        ...

    async def disconnect(self) -> None:
        """Leave and free everything. Idempotent, bounded to about a second, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says when it is asked whether it is there."""

    took_s: float
    server_time: float | None
    """Its clock, in seconds since 1970, to the second; None: it does not say."""


class Knock(Protocol):
    """Asking a server, past the SDK, whether it answers; `network.knock.knock` is the real one."""

    async def __call__(self, url: str) -> Answer:
        """Raises Unreachable, AttemptTimedOut; Rejected when `url` is no address. May be cancelled at any time."""
        ...


class TokenSource(Protocol):
    """Where the right to join comes from."""

    async def grant(self) -> Grant:
        """A URL and a token that are good now. Raises Rejected, Unreachable, AttemptTimedOut."""
        ...

    def invalidate(self) -> None:
        """The last grant was refused: do not hand out a cached copy again."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """What a room is joined with."""

    url: str
    token: str = field(repr=False)
    expires_at: float | None = None
    """Seconds since 1970, as the token says; None: it does not say."""


# ---- what the supervisor runs -----------------------------------------------------------------------------------


class Leg(StrEnum):
    """One half of the audio path."""

    INPUT = "input"
    OUTPUT = "output"


class LegState(StrEnum):
    """How a leg is doing."""

    OFF = "off"
    """Not configured (listen-only, talk-only)."""
    OK = "ok"
    MISSING = "missing"
    """The device could not be opened, or was lost; tried again when it may be back."""


@dataclass(frozen=True, slots=True)
class LegReport:
    """A leg's state with the sentence that explains it."""

    state: LegState
    device: str = ""
    error: Exception | None = None


class Link(StrEnum):
    """How a session's connection to the room is doing."""

    UP = "up"
    RECOVERING = "recovering"
    """It broke, and may come back by itself; `Session.recovering_why` says how that shows."""
    CLOSED = "closed"


class Metrics(Protocol):
    """Whoever can be asked for numbers."""

    def get_metrics(self) -> Mapping[str, Mapping[str, object]]:
        """Sections `network`, `input`, `output`, `mixer`, `processing`; the fields are in `observe/EVENTS.md`."""
        ...


class Session(Metrics, Protocol):
    """One stay in a room with its audio legs; `AudioClientOrchestrator` is the real one. Loop thread only."""

    async def connect(self) -> None:
        """Join, publish, open the legs. Raises AltoError after it undid what it had made. Once."""
        ...

    async def disconnect(self) -> None:
        """Undo everything in reverse. Idempotent, bounded to about a second, never raises."""
        ...

    def tend(self) -> None:
        """Look after the legs: notice one that fell silent, start another try for one that is missing. Returns at
        once; what it started reports through `on_change`."""
        ...

    def apply(self, settings: Settings, changes: Changes) -> None:
        """Take up what can change without leaving the room."""
        ...

    async def knock(self) -> None:
        """Ask the server itself, past the SDK, whether it answers. Raises Unreachable, AttemptTimedOut."""
        ...

    @property
    def link(self) -> Link: ...

    @property
    def recovering_why(self) -> str:
        """Empty while `link` is not RECOVERING, else `connection_lost` (the SDK noticed and mends) or `media_stalled`
        (nothing arrives although the SDK is content)."""
        ...

    @property
    def closed_by(self) -> Exception | None:
        """Why `link` is CLOSED."""
        ...

    @property
    def legs(self) -> Mapping[Leg, LegReport]: ...

    @property
    def participants(self) -> tuple[str, ...]: ...

    @property
    def parked(self) -> tuple[str, ...]:
        """Those of them who are not played, because others spoke later: `audio.max_streams`."""
        ...


class SessionFactory(Protocol):
    """Makes the next session; asks for a token, so it may fail like a connection."""

    async def __call__(self, settings: Settings, on_change: Callable[[], None]) -> Session:
        """A session that is not connected yet. `on_change` is called on the loop thread whenever `link` or `legs`
        may have changed. Raises NetworkError."""
        ...
