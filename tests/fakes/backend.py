"""`FakeBackend`: sound cards that can be plugged, pulled, held and made picky, on a machine that has none.

It implements `ports.AudioBackend` and is held to the real one by `tests/contracts/test_audio_backend.py`.
Four ways to make sound pass through it:

- `feed(pcm, block)` and `pull(pcm, frames)`: one callback, now, on the caller's thread;
- `advance(seconds)`: virtual time; every open stream gets the callbacks it is due, in order, on the caller's thread;
- `beat()`: one callback for each open stream, whatever time it is;
- `with backend.run():` real time, on a thread of its own, as a sound card would.

For the last three, `source(pcm, fn)` says what a microphone hears (silence if nothing is said) and `heard(pcm)` returns
what a loudspeaker played.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from appliance.audio.devices import SEE, can, channels, same_device
from appliance.errors import AltoError, ControlMissing, DeviceBusy, DeviceLost, DeviceMissing, FormatUnsupported
from appliance.ports import Block, CaptureCallback, DeviceInfo, Direction, PlaybackCallback, StreamSpec

Source = Callable[[int, int, int, int], Block]
"""(first frame's position, frames, channels, rate_hz) → what the microphone hears, shape (frames, channels)."""

UNFILLED: Final = np.int16(0x5A5A)  # what a playback block holds before the callback: a gap left in it is seen
HEARD_BLOCKS: Final = 60_000  # ten minutes of 10 ms blocks: a loop that never ends must not eat the memory
STEREO: Final = 2
TICK_S: Final = 0.002  # how often the real-time thread looks; a fifth of the usual block
HANG_S: Final = 20.0  # a test that forgets to let a driver answer must end
ROUNDING_S: Final = 1e-9  # thousands of additions of 0.01 do not add up to whole seconds


def usb_card(card_id: str, name: str = "", *, rates_hz: tuple[int, ...] = (44100, 48000)) -> DeviceInfo:
    """A USB speakerphone: one channel in, two out."""
    return DeviceInfo(
        f"plughw:CARD={card_id}",
        name or card_id,
        card_id=card_id,
        input_channels=1,
        output_channels=STEREO,
        rates_hz=rates_hz,
    )


def silence(position: int, frames: int, channels: int, rate_hz: int) -> Block:
    """A quiet room."""
    return np.zeros((frames, channels), np.int16)


def tone(hz: float, amplitude: float = 0.5) -> Source:
    """A sine of that frequency; amplitude 1.0 is full scale. The same in all channels."""

    def play(position: int, frames: int, channels: int, rate_hz: int) -> Block:
        phase = 2 * np.pi * hz / rate_hz * (position + np.arange(frames))
        wave = np.round(np.sin(phase) * amplitude * 32767).astype(np.int16)
        return np.repeat(wave[:, None], channels, axis=1)

    return play


class Hang:
    """A driver that does not answer: who opens or closes its device stays inside until `answer`."""

    def __init__(self) -> None:
        self.inside: set[int | None] = set()
        """Threads that are in it now."""
        self._answered = threading.Event()

    def answer(self) -> None:
        self._answered.set()

    def wait(self) -> None:
        self.inside.add(threading.get_ident())
        self._answered.wait(HANG_S)
        self.inside.discard(threading.get_ident())


@dataclass
class _Socket:
    """A device and what a test did to it; stays when the card is pulled."""

    info: DeviceInfo
    index: int
    present: bool = True
    stopped: bool = False
    hang: Hang | None = None
    held_by: str = ""
    enough_s: float = 0.0
    refused_rates: frozenset[int] = frozenset()
    refused_channels: frozenset[int] = frozenset()
    source: Source = silence
    heard: deque[Block] = field(default_factory=lambda: deque(maxlen=HEARD_BLOCKS))

    def fits(self, name: str) -> bool:
        """Whether `name` (a pcm however written, or a card id) is this device."""
        return name == self.info.card_id or same_device(name, replace(self.info, card_index=self.index))


class FakeStream:
    """`ports.AudioStream`; made by FakeBackend only."""

    def __init__(self, spec: StreamSpec, socket: _Socket, direction: Direction, backend: FakeBackend) -> None:
        self.spec = spec
        self.direction = direction
        self.socket = socket
        self.position_frames = 0
        self.due_s = 0.0
        self.block_s = spec.block_frames / spec.rate_hz
        self.closed = False
        self.alive = True
        """False after its card was pulled: as on the real machine it never comes back by itself."""
        self.overfull_s = 0.0
        """By how much more than it needs its buffer holds, as a sound server's does after a stall."""
        self.stood_back = 0
        """How often it was told to; that a thread spins is not seen here."""
        self._backend = backend

    @property
    def pcm(self) -> str:
        return self.spec.pcm

    @property
    def rate_hz(self) -> int:
        return self.spec.rate_hz

    @property
    def channels(self) -> int:
        return self.spec.channels

    @property
    def latency_s(self) -> float:
        return self.spec.latency_s

    @property
    def delay_s(self) -> float:
        return self.block_s if self.direction is Direction.INPUT else self.spec.latency_s + self.overfull_s

    @property
    def gone(self) -> bool:
        return not self.alive

    @property
    def runs(self) -> bool:
        """Whether a callback would be called now."""
        return self.alive and not self.closed and not self.socket.stopped

    def fits(self, name: str) -> bool:
        """Whether it was opened on the device of that name."""
        return self.socket.fits(name)

    def stand_back(self) -> None:
        self.stood_back += 1

    def close(self) -> None:
        if not self.closed and self.socket.hang is not None:
            self.socket.hang.wait()
        self._backend._forget(self)


class FakeBackend:
    """Sound devices made of memory. `feed`, `pull`, `advance`, `beat` and `run` must not be mixed on one stream."""

    def __init__(self, devices: Iterable[DeviceInfo] = ()) -> None:
        self._lock = threading.RLock()
        self._sockets: list[_Socket] = []
        self._streams: list[_Open] = []
        self._next_failures: dict[Direction, deque[AltoError]] = {d: deque() for d in Direction}
        self._now_s = 0.0
        self.blocks: Counter[Direction] = Counter()
        """Callbacks of `advance`, `run` and `beat` by direction, ever."""
        self.controls: dict[tuple[str, Direction], dict[str, str]] = {}
        """What volume controls there are, by pcm and direction, and what they are set to; a test puts them there."""
        self.opened: list[StreamSpec] = []
        """Every spec that was opened, in order; a refused one is not in it."""
        for info in devices:
            self.plug(info)

    # ---- ports.AudioBackend

    def devices(self) -> list[DeviceInfo]:
        with self._lock:
            present = sorted((s for s in self._sockets if s.present), key=lambda s: s.index)
            return [replace(s.info, busy=s.held_by, card_index=s.index if s.info.card_id else None) for s in present]

    def open_capture(self, spec: StreamSpec, callback: CaptureCallback) -> FakeStream:
        return self._open(spec, Direction.INPUT, callback)

    def open_playback(self, spec: StreamSpec, callback: PlaybackCallback) -> FakeStream:
        return self._open(spec, Direction.OUTPUT, callback)

    def set_level(self, pcm: str, direction: Direction, control: str, level: str) -> None:
        there = self.controls.get((pcm, direction), {})
        if control not in there:
            raise ControlMissing(f"{pcm!r} has no control {control!r}", fix=f"use one of {', '.join(there)}")
        there[control] = level

    # ---- what a test does to the devices

    def plug(self, info: DeviceInfo, *, index: int | None = None) -> None:
        """Put a card in (again), by choice under another card index. Old streams on it stay dead."""
        with self._lock:
            used = {s.index for s in self._sockets if s.present}
            free = next(i for i in range(len(used) + 1) if i not in used)
            self._sockets = [s for s in self._sockets if s.present or s.info.pcm != info.pcm]
            self._sockets.append(_Socket(info, free if index is None else index))

    def unplug(self, name: str) -> None:
        """Pull the card (its id, or its pcm): callbacks stop without a word and it leaves the list."""
        with self._lock:
            socket = self._socket(name)
            socket.present = False
            for stream, _ in self._streams:
                stream.alive = stream.alive and stream.socket is not socket

    def stop(self, name: str) -> None:
        """The device falls silent: callbacks stop, it stays in the list, and to open it fails with DeviceLost."""
        self._socket(name).stopped = True

    def resume(self, name: str) -> None:
        """It goes on after `stop`."""
        self._socket(name).stopped = False

    def hang(self, name: str) -> Hang:
        """The driver does not answer: opening and closing take until the test lets it answer. Callbacks run on."""
        socket = self._socket(name)
        socket.hang = Hang()
        return socket.hang

    def hold(self, name: str, by: str = "arecord (pid 4711)") -> None:
        """Another program opens the device: to open it fails with DeviceBusy."""
        self._socket(name).held_by = by

    def release(self, name: str) -> None:
        """The other program ends."""
        self._socket(name).held_by = ""

    def refuse(self, name: str, *, rates: Iterable[int] = (), channels: Iterable[int] = ()) -> None:
        """Formats that the device does not take."""
        socket = self._socket(name)
        socket.refused_rates |= frozenset(rates)
        socket.refused_channels |= frozenset(channels)

    def needs(self, name: str, latency_s: float) -> None:
        """Asked to hold less than that, the device has an accident in each block."""
        self._socket(name).enough_s = latency_s

    def fail_next(self, direction: Direction, *errors: AltoError) -> None:
        """The next opens in that direction raise these, one each."""
        self._next_failures[direction].extend(errors)

    # ---- sound

    @property
    def streams(self) -> tuple[FakeStream, ...]:
        """The streams that are open now; empty when nothing leaked."""
        with self._lock:
            return tuple(stream for stream, _ in self._streams)

    def feed(self, name: str, block: Block, *, overflowed: bool = False) -> bool:
        """Have the device capture `block`. False when no callback ran (not open, pulled, stopped)."""
        ran = False
        for stream, callback in self._on(name, Direction.INPUT):
            stream.position_frames += len(block)
            callback(block.copy(), overflowed)
            ran = True
        return ran

    def pull(self, name: str, frames: int | None = None, *, underflowed: bool = False) -> Block:
        """Have the device ask for `frames` (its block if None) and return them; shape (0, 1) when no callback ran."""
        for stream, callback in self._on(name, Direction.OUTPUT):
            out = np.full((frames or stream.spec.block_frames, stream.channels), UNFILLED)
            stream.position_frames += len(out)
            callback(out, underflowed)
            return out
        return np.zeros((0, 1), np.int16)

    def source(self, name: str, play: Source) -> None:
        """What the device's microphone hears from now on, in `advance` and `run`."""
        self._socket(name).source = play

    def heard(self, name: str) -> Block:
        """What the device's loudspeaker played in `advance` and `run`, shape (frames, channels)."""
        blocks = list(self._socket(name).heard)
        return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.int16)

    def advance(self, seconds: float) -> int:
        """Let virtual time pass: every stream gets the callbacks that are due. Returns how many ran."""
        self._now_s += seconds
        ran = 0
        while due := self._most_due():
            self._tick(*due)
            ran += 1
        return ran

    def beat(self) -> None:
        """One callback for each running stream, now: for stories that cannot afford a hundred a second."""
        for stream, callback in self._streams:
            if stream.runs:
                self._tick(stream, callback)

    @contextlib.contextmanager
    def run(self) -> Iterator[FakeBackend]:
        """Real time, on a thread of its own, until the block ends."""
        done = threading.Event()
        thread = threading.Thread(target=self._run, args=(done,), name="fake-audio", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join(5.0)

    # ---- inside

    def _run(self, done: threading.Event) -> None:
        before_s = time.monotonic()
        while not done.wait(TICK_S):
            now_s = time.monotonic()
            self.advance(now_s - before_s)
            before_s = now_s

    def _most_due(self) -> _Open | None:
        with self._lock:
            for stream, _ in self._streams:
                if not stream.runs:
                    stream.due_s = self._now_s + stream.block_s  # a pause is not caught up afterwards
            due = [entry for entry in self._streams if entry[0].due_s <= self._now_s + ROUNDING_S]
            return min(due, key=lambda entry: entry[0].due_s, default=None)

    def _tick(self, stream: FakeStream, callback: Callable[[Block, bool], None]) -> None:
        spec, socket = stream.spec, stream.socket
        self.blocks[stream.direction] += 1
        accident = spec.latency_s < socket.enough_s
        if stream.direction is Direction.INPUT:
            callback(socket.source(stream.position_frames, spec.block_frames, spec.channels, spec.rate_hz), accident)
        else:
            out = np.full((spec.block_frames, spec.channels), UNFILLED)
            callback(out, accident)
            socket.heard.append(out)
        stream.position_frames += spec.block_frames
        stream.due_s += stream.block_s

    def _open(self, spec: StreamSpec, direction: Direction, callback: Callable[[Block, bool], None]) -> FakeStream:
        with contextlib.suppress(LookupError):
            if hang := self._socket(spec.pcm).hang:
                hang.wait()
        with self._lock:
            if self._next_failures[direction]:
                raise self._next_failures[direction].popleft()
            socket = self._socket_to_open(spec, direction)
            stream = FakeStream(spec, socket, direction, self)
            stream.due_s = self._now_s + stream.block_s
            self._streams = [*self._streams, (stream, callback)]
            self.opened.append(spec)
            return stream

    def _socket_to_open(self, spec: StreamSpec, direction: Direction) -> _Socket:
        try:
            socket = self._socket(spec.pcm)
        except LookupError as err:
            raise DeviceMissing(f"no device {spec.pcm!r}", fix=SEE, device=spec.pcm) from err
        if not can(socket.info, direction):
            raise DeviceMissing(f"{spec.pcm!r} has no {direction}", fix=SEE, device=spec.pcm)
        if holder := socket.held_by or self._held_by_us(socket, direction):
            raise DeviceBusy(f"{spec.pcm!r} is in use by {holder}", fix=SEE, device=spec.pcm, holder=holder)
        if not self._takes(socket, spec, direction):
            wanted = f"{spec.rate_hz} Hz, {spec.channels} channels"
            raise FormatUnsupported(f"{spec.pcm!r} refuses {wanted}", fix=SEE, device=spec.pcm)
        if socket.stopped:  # the real one waits for the first block, in vain
            raise DeviceLost(f"{spec.pcm!r} opens and delivers nothing", fix=SEE, device=spec.pcm)
        return socket

    def _held_by_us(self, socket: _Socket, direction: Direction) -> str:
        """A card is one stream's in each direction; a plugin PCM (no card id) may be opened often."""
        taken = any(s.socket is socket and s.direction is direction and not s.closed for s, _ in self._streams)
        return "alto itself" if taken and socket.info.card_id else ""

    @staticmethod
    def _takes(socket: _Socket, spec: StreamSpec, direction: Direction) -> bool:
        """`hw:` takes what the hardware does; everything else converts, but for what a test refuses."""
        if spec.rate_hz in socket.refused_rates or spec.channels in socket.refused_channels:
            return False
        if not spec.pcm.startswith("hw:"):
            return True
        rates_hz = socket.info.rates_hz
        return spec.channels == channels(socket.info, direction) and (not rates_hz or spec.rate_hz in rates_hz)

    def _on(self, name: str, direction: Direction) -> list[_Open]:
        """The streams of that device and direction that are running."""
        with self._lock:
            return [(s, c) for s, c in self._streams if s.runs and s.direction is direction and s.fits(name)]

    def _socket(self, name: str) -> _Socket:
        """The present device of that pcm or card id. Raises LookupError."""
        with self._lock:
            for socket in self._sockets:
                if socket.present and socket.fits(name):
                    return socket
        raise LookupError(f"no device {name!r} is plugged in; there are {[s.info.pcm for s in self._sockets]}")

    def _forget(self, stream: FakeStream) -> None:
        with self._lock:
            stream.closed = True
            self._streams = [entry for entry in self._streams if entry[0] is not stream]


_Open = tuple[FakeStream, Callable[[Block, bool], None]]
