"""`PortAudioBackend`: real sound devices. The only importer of sounddevice.

Streams are opened by ALSA string, past PortAudio's device list: the list freezes when PortAudio starts, and a refresh
would stop every stream. PortAudio takes a string in `PaAlsaStreamInfo`; sounddevice has no word for that, so the
stream is made by PortAudio's own functions, which sounddevice has loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
import time
from typing import Any, Final, cast

import numpy as np

from appliance import realtime
from appliance.audio import alsa
from appliance.audio.cards import CardDevice, Plugging, card_devices
from appliance.audio.chatter import quiet
from appliance.audio.devices import card_address
from appliance.audio.level import set_level
from appliance.audio.worker import longest_s
from appliance.errors import AudioError, DeviceBusy, DeviceLost, DeviceMissing, FormatUnsupported
from appliance.ports import AudioStream, Block, CaptureCallback, DeviceInfo, Direction, PlaybackCallback, StreamSpec

_BY_STRING: Final = -2  # portaudio.h: paUseHostApiSpecificDeviceSpecification
_ALSA: Final = 8  # portaudio.h: paALSA
_INT16: Final = 0x8  # portaudio.h: paInt16
_INPUT_OVERFLOW: Final = 0x2
_OUTPUT_UNDERFLOW: Final = 0x4
_CONTINUE: Final = 0

START_S: Final = 1.0  # the slowest start seen, a suspended PulseAudio sink, took 0.45 s
LATENCIES: Final = (1.0, 2.0, 4.0)  # times what was asked: some plugins never start on the shortest buffer
DELAY_MAX_S: Final = 1.0  # what time stamps say beyond that is no delay: some plugins leave them unset
NO_SOUND_SERVER: Final = (errno.ECONNREFUSED, errno.EHOSTDOWN)  # PulseAudio's and PipeWire's plugins (measured)
CLOSE_S: Final = 1.0  # closing a pulled card returns at once (measured); a driver that hangs is left behind


class _AlsaStreamInfo(ctypes.Structure):
    """pa_linux_alsa.h: PaAlsaStreamInfo. By ctypes: cffi would load a parser of C to read these four lines."""

    _fields_ = (
        ("size", ctypes.c_ulong),
        ("hostApiType", ctypes.c_int),
        ("version", ctypes.c_ulong),
        ("deviceString", ctypes.c_char_p),
    )


_CLOSING: Final[dict[PortAudioStream, float]] = {}
"""Streams that are being closed, and since when (monotonic seconds). One whose driver hangs stays here: it may still
call back, so what it calls must not be freed."""


class PortAudioBackend:
    """`ports.AudioBackend` on PortAudio and ALSA. On the `audio-device` worker only; PortAudio starts at the first
    open, and a machine without any sound card is fine."""

    def __init__(self) -> None:
        self._library: Any = None
        self._ffi: Any = None
        self._asound = alsa.library()
        self._cards = alsa.Cards(self._asound)

    @property
    def stuck_s(self) -> float:
        """How long the driver of a stream that was closed has not let go of it; 0: none is held. Any thread."""
        return longest_s(_CLOSING.values())

    def devices(self) -> list[DeviceInfo]:
        """Cards and named PCMs that are there right now, by the ALSA configuration as it is written now."""
        named = alsa.named_pcms(self._asound) if self._asound is not None else []
        found = named + self._cards.devices()
        alsa.take_messages()
        return found

    def open_capture(self, spec: StreamSpec, callback: CaptureCallback) -> AudioStream:
        """See `ports.AudioBackend`."""

        def on_block(inp: Any, _out: Any, frames: int, _time: Any, status: int, _user: Any) -> int:
            callback(_block(ffi, inp, frames, spec.channels), bool(status & _INPUT_OVERFLOW))
            return _CONTINUE

        ffi = self._start()
        return self._open(spec, Direction.INPUT, on_block)

    def open_playback(self, spec: StreamSpec, callback: PlaybackCallback) -> AudioStream:
        """See `ports.AudioBackend`."""

        def on_block(_inp: Any, out: Any, frames: int, _time: Any, status: int, _user: Any) -> int:
            callback(_block(ffi, out, frames, spec.channels), bool(status & _OUTPUT_UNDERFLOW))
            return _CONTINUE

        ffi = self._start()
        return self._open(spec, Direction.OUTPUT, on_block)

    def set_level(self, pcm: str, direction: Direction, control: str, level: str) -> None:
        """See `ports.AudioBackend`."""
        if self._asound is not None:
            set_level(self._asound, pcm, direction, control, level)

    # ---- steps

    def _start(self) -> Any:
        if self._ffi is None:
            unseen = alsa.nameless(self._asound) if self._asound is not None else contextlib.nullcontext()
            with quiet(), unseen:
                import sounddevice  # starts PortAudio, which would open every PCM for a list that nobody reads

            self._ffi, self._library = sounddevice._ffi, sounddevice._lib
        return self._ffi

    def _open(self, spec: StreamSpec, direction: Direction, on_block: Any) -> AudioStream:
        # Asked of libasound itself: it says why. And PortAudio must not be the one that finds out: it keeps the error
        # of a failed step where the other stream's thread writes its own, reads success there, and crashes.
        if refusal := self._refusal(spec, direction):
            raise refusal
        for times in LATENCIES:
            stream = PortAudioStream(self._ffi, self._library, spec, direction, spec.latency_s * times, on_block)
            code = stream.start()
            if code != 0:
                raise self._refusal(spec, direction) or _format_refused(spec, direction, self._text(code))
            if stream.began.wait(START_S):
                device = _card_device(spec.pcm)
                stream.plugged = device.plugged if device else None
                return stream
            stream.close()
        raise DeviceLost(
            f"{direction} device {spec.pcm!r} opens and delivers nothing", fix='try another one; see "alto devices"'
        )

    def _refusal(self, spec: StreamSpec, direction: Direction) -> AudioError | None:
        """What stands against opening the device like that; None: nothing."""
        what = f"{direction} device {spec.pcm!r}"
        if self._asound is None:
            return DeviceMissing("libasound is not installed", fix="apt install libasound2")
        why, takes = alsa.try_format(
            self._asound,
            spec.pcm,
            capture=direction is Direction.INPUT,
            rate_hz=spec.rate_hz,
            channels=spec.channels,
        )
        detail = alsa.take_messages()
        if why == 0:
            return None if takes else _format_refused(spec, direction, detail)
        if why in (errno.EBUSY, errno.EAGAIN):
            by = _holder(spec.pcm) or "another program"
            return DeviceBusy(f"{what} is held by {by}", fix="end that program, or name another device", holder=by)
        if why in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return DeviceMissing(f"{what} is not there", fix='plug it in, or see "alto devices"', detail=detail)
        if why in (errno.EACCES, errno.EPERM):
            return DeviceMissing(f"{what} may not be opened by this user", fix="add the user to group audio")
        if why in NO_SOUND_SERVER:
            fix = 'name the card itself (plughw:CARD=…, see "alto devices"), or start that server as this user'
            return DeviceMissing(f"{what} is a sound server's, and none runs for this user", fix=fix, detail=detail)
        return DeviceLost(f"{what}: {os.strerror(why)}", fix='see "alto devices"', detail=detail)

    def _text(self, code: int) -> str:
        return cast(str, self._ffi.string(self._library.Pa_GetErrorText(code)).decode())


class PortAudioStream:
    """`ports.AudioStream`: one running direction."""

    def __init__(
        self, ffi: Any, library: Any, spec: StreamSpec, direction: Direction, latency_s: float, on_block: Any
    ) -> None:
        self.spec = spec
        self.began = threading.Event()
        """Set by the first callback."""
        self.delay_s = 0.0
        """See `ports.AudioStream`."""
        self.plugged: Plugging | None = None
        """Of the card that it runs on; None: not known."""
        self._ffi, self._library = ffi, library
        self._direction = direction
        self._info = _AlsaStreamInfo(ctypes.sizeof(_AlsaStreamInfo), _ALSA, 1, spec.pcm.encode())
        self._latency_s = latency_s
        self._stream = ffi.new("PaStream **")
        self._open = False
        self._thread_id = 0
        self._stands_back = False
        self._callback = ffi.callback("PaStreamCallback", self._first_then(on_block), error=_CONTINUE)

    def _first_then(self, on_block: Any) -> Any:
        began, captures = self.began, self._direction is Direction.INPUT

        def called(*arguments: Any) -> int:
            if not began.is_set():
                self._thread_id = threading.get_native_id()
                began.set()
            elif self._stands_back:
                self._stands_back = False
                realtime.come_forward()
            times = arguments[3]
            delay_s = times.currentTime - times.inputBufferAdcTime if captures else _to_dac_s(times)
            self.delay_s = delay_s if 0.0 <= delay_s <= DELAY_MAX_S else 0.0
            return cast(int, on_block(*arguments))

        return called

    def start(self) -> int:
        """Open and start; PortAudio's error code, 0 when it runs."""
        ffi, library, spec = self._ffi, self._library, self.spec
        parameters = ffi.new("PaStreamParameters *")
        parameters.device = _BY_STRING
        parameters.channelCount = spec.channels
        parameters.sampleFormat = _INT16
        parameters.suggestedLatency = self._latency_s
        parameters.hostApiSpecificStreamInfo = ffi.cast("void *", ctypes.addressof(self._info))
        both = (parameters, ffi.NULL) if self._direction is Direction.INPUT else (ffi.NULL, parameters)
        with quiet():
            code = library.Pa_OpenStream(
                self._stream, *both, float(spec.rate_hz), spec.block_frames, 0, self._callback, ffi.NULL
            )
            if code == 0:
                self._open = True
                code = library.Pa_StartStream(self._stream[0])
        if code != 0:
            self.close()
        return int(code)

    @property
    def pcm(self) -> str:
        """The ALSA string it was opened by."""
        return self.spec.pcm

    @property
    def rate_hz(self) -> int:
        """Frames a second."""
        return self.spec.rate_hz

    @property
    def channels(self) -> int:
        """Samples in a frame."""
        return self.spec.channels

    @property
    def latency_s(self) -> float:
        """What PortAudio says that the device's buffer holds; 0.0 once closed."""
        if not self._open:
            return 0.0
        info = self._library.Pa_GetStreamInfo(self._stream[0])
        return float(info.inputLatency if self._direction is Direction.INPUT else info.outputLatency)

    @property
    def gone(self) -> bool:
        """See `ports.AudioStream`. PortAudio itself never says so: its thread goes round and round, at a whole
        processor's cost, until the stream is closed (measured)."""
        return self.plugged is not None and self.plugged.over

    def stand_back(self) -> None:
        """See `ports.AudioStream`. A pulled card's thread that goes round and round in real time keeps out the
        kernel's own: the one that takes the device's node away, by which we see it (`gone`), and other cards'."""
        if self._open and self._thread_id and realtime.stand_back(self._thread_id):
            self._stands_back = True  # not before: a callback in between would come forward too early

    def close(self) -> None:
        """Stop and free; waits `CLOSE_S` at most: a driver that hangs is left to itself. Idempotent."""
        if not self._open:
            return
        self._open = False
        stream = self._stream[0]

        def end() -> None:
            self._library.Pa_AbortStream(stream)
            self._library.Pa_CloseStream(stream)
            del _CLOSING[self]

        _CLOSING[self] = time.monotonic()
        thread = threading.Thread(target=end, name="audio-close", daemon=True)
        with quiet():
            thread.start()
            thread.join(CLOSE_S)


def _format_refused(spec: StreamSpec, direction: Direction, detail: str) -> AudioError:
    form = f"{spec.rate_hz} Hz, {spec.channels} channels"
    return FormatUnsupported(f"{direction} device {spec.pcm!r} refuses {form}", fix='see "alto devices"', detail=detail)


def _to_dac_s(times: Any) -> float:
    return float(times.outputBufferDacTime - times.currentTime)


def _block(ffi: Any, pointer: Any, frames: int, channels: int) -> Block:
    """The C buffer as an array that shares its memory, shape (frames, channels)."""
    return np.frombuffer(ffi.buffer(pointer, frames * channels * 2), np.int16).reshape(frames, channels)


def _card_device(pcm: str) -> CardDevice | None:
    """The card's device that an ALSA string addresses; None when it is not about a card, or that is not there."""
    address = card_address(pcm)
    if address is None:
        return None
    return next((one for one in card_devices() if address.names(one.card_id, one.card_index, one.number)), None)


def _holder(pcm: str) -> str:
    """Who has that card's device open, in words; empty when nobody is known to."""
    device = _card_device(pcm)
    if device is None or not device.holders:
        return ""
    return device.held_by_others or "alto itself, whose driver does not let go"
