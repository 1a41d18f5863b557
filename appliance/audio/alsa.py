"""libasound, asked directly: which names it knows now, what stands against opening one, what hardware can do.

PortAudio's own list freezes when it starts. What libasound would print on standard error is caught here and told as
the detail of an error instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import errno
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from appliance.audio.cards import CardDevice, Plugging, card_devices
from appliance.ports import DeviceInfo

KEPT_MESSAGES: Final = 8  # of libasound's complaints; one failed open makes two or three
PLUGIN_CHANNELS: Final = 2  # a named PCM converts: what is behind it is not known without opening it
USUAL_RATES_HZ: Final = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 176400, 192000)

_INTERNAL: Final = re.compile(
    r"^(null|lavrate|samplerate|speexrate|jack|oss|speex|upmix|vdownmix|hw|plughw|sysdefault|front|rear|center_lfe|side"
    r"|surround\d+|iec958|spdif|hdmi|modem|phoneline|usbstream|dmix|dsnoop|dsp|cards|empty|file|shm|tee|plug|arcam.*"
    r"|a52|lavrate_.*|samplerate_.*|speexrate_.*)(:|$)"
)
"""Names that ALSA's own configuration brings, which nobody means to paste; cards are listed as plughw:CARD=…."""

_CAPTURE: Final = 1  # SND_PCM_STREAM_CAPTURE; playback is 0
_NONBLOCK: Final = 1  # SND_PCM_NONBLOCK
_PLUG: Final = 14  # SND_PCM_TYPE_PLUG
_THERE: Final = (0, errno.EBUSY, errno.EAGAIN)  # what opening says of a device that is there

_ERROR_HANDLER: Final = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)

_FIRST_IS_TEXT: Final = re.compile(r"[^%]*%s")  # only then may the first argument be read as a string

_messages: deque[str] = deque(maxlen=KEPT_MESSAGES)


@_ERROR_HANDLER  # type: ignore[untyped-decorator]
def _remember(file: bytes, line: int, function: bytes, error: int, format_: bytes, argument: int) -> None:
    """libasound's error handler. The text is a printf format; its first argument is filled in where it is a string."""
    text = (format_ or b"").decode(errors="replace")
    if argument and _FIRST_IS_TEXT.match(text):
        first = (ctypes.c_char_p(argument).value or b"").decode(errors="replace")
        text = text.replace("%s", first, 1)
    _messages.append(text)


def take_messages() -> str:
    """What libasound complained about since the last call, in one line."""
    text = "; ".join(dict.fromkeys(_messages))
    _messages.clear()
    return text


def library() -> Any:
    """libasound with its error handler set, or None on a machine without it."""
    name = ctypes.util.find_library("asound")
    if name is None:
        return None
    asound = ctypes.CDLL(name)
    asound.snd_lib_error_set_handler(_remember)
    for function in (
        "snd_device_name_get_hint",
        "snd_config_iterator_first",
        "snd_config_iterator_next",
        "snd_config_iterator_end",
        "snd_config_iterator_entry",
    ):
        getattr(asound, function).restype = ctypes.c_void_p
    return asound


# ---- names -------------------------------------------------------------------------------------------------------


def named_pcms(asound: Any) -> list[DeviceInfo]:
    """`default` and the PCMs of the ALSA configuration (asound.conf) as it is written now, `default` first.

    Those without a hint are there too, after the others: they can be named in alto.yaml all the same.
    """
    _read_again(asound)
    hinted = list(_hinted(asound))
    names = {info.pcm for info in hinted}
    plain = [_named(name, "", "") for name in _defined(asound) if name not in names and name != "default"]
    default = [] if "default" in names else _unhinted_default(asound)
    return default + sorted(hinted, key=lambda info: not info.default) + plain


def _read_again(asound: Any) -> None:
    """Have libasound take up an edited asound.conf, or a card's own file: it reads them once otherwise.

    Its own function for this (`snd_config_update_free_global`) also unloads the plugins of streams that are running:
    they crash. So the tree is exchanged, as it does itself when alsa.conf changes. One that cannot be read changes
    nothing. Who is opening a device just now keeps the old tree until he is done: it is counted.
    """
    fresh, update = ctypes.c_void_p(), ctypes.c_void_p()
    if asound.snd_config_update_r(ctypes.byref(fresh), ctypes.byref(update), None) < 0:
        return
    asound.snd_config_update_free(update)
    current = ctypes.c_void_p.in_dll(asound, "snd_config")
    stale, current.value = current.value, fresh.value
    if stale:
        asound.snd_config_delete(ctypes.c_void_p(stale))


@contextlib.contextmanager
def nameless(asound: Any) -> Iterator[None]:
    """Have libasound know neither PCM nor card meanwhile, so that PortAudio opens none of them when it starts.

    Opening each one loads each plugin, and a codec library with all of ffmpeg behind it: 16 MB, on some systems. One
    name is left, which does not open: PortAudio aborts the process when it finds none.
    """
    bare, pcm, default = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    asound.snd_config_update()  # so that nobody does it meanwhile
    asound.snd_config_top(ctypes.byref(bare))
    asound.snd_config_make_compound(ctypes.byref(pcm), b"pcm", 0)
    asound.snd_config_make_compound(ctypes.byref(default), b"default", 0)
    if asound.snd_config_add(bare, pcm) < 0 or asound.snd_config_add(pcm, default) < 0:
        yield
        return
    current = ctypes.c_void_p.in_dll(asound, "snd_config")
    kept, current.value = current.value, bare.value
    try:
        yield
    finally:
        bare.value, current.value = current.value, kept
        asound.snd_config_delete(bare)
        take_messages()


def _hinted(asound: Any) -> Iterator[DeviceInfo]:
    hints = ctypes.POINTER(ctypes.c_void_p)()
    if asound.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
        return
    try:
        for hint in iter(hints):  # ends at NULL
            if not hint:
                break
            name = _hint(asound, hint, b"NAME")
            if name and not _INTERNAL.match(name) and "CARD=" not in name:
                yield _named(
                    name, _hint(asound, hint, b"DESC").replace("\n", ", ") or name, _hint(asound, hint, b"IOID")
                )
    finally:
        asound.snd_device_name_free_hint(hints)


def _hint(asound: Any, hint: int, key: bytes) -> str:
    text = asound.snd_device_name_get_hint(ctypes.c_void_p(hint), key)
    if not text:
        return ""
    try:
        return (ctypes.c_char_p(text).value or b"").decode(errors="replace")
    finally:
        _libc.free(ctypes.c_void_p(text))


def _defined(asound: Any) -> Iterator[str]:
    """Names of the configuration's top level that take no argument, ALSA's own left out."""
    top, pcm = ctypes.c_void_p(), ctypes.c_void_p()
    if asound.snd_config_update_ref(ctypes.byref(top)) < 0:
        return
    try:
        if asound.snd_config_search(top, b"pcm", ctypes.byref(pcm)) < 0:
            return
        at, end = asound.snd_config_iterator_first(pcm), asound.snd_config_iterator_end(pcm)
        while at and at != end:
            node, name = ctypes.c_void_p(asound.snd_config_iterator_entry(ctypes.c_void_p(at))), ctypes.c_char_p()
            asound.snd_config_get_id(node, ctypes.byref(name))
            text = (name.value or b"").decode(errors="replace")
            if text and not _INTERNAL.match(text) and not _takes_arguments(asound, node):
                yield text
            at = asound.snd_config_iterator_next(ctypes.c_void_p(at))
    finally:
        asound.snd_config_unref(top)


def _takes_arguments(asound: Any, node: ctypes.c_void_p) -> bool:
    found = ctypes.c_void_p()
    return bool(asound.snd_config_search(node, b"@args", ctypes.byref(found)) >= 0)


def _unhinted_default(asound: Any) -> list[DeviceInfo]:
    """ALSA always defines `default`; whether it leads anywhere is known by opening it only."""
    captures, plays = (try_open(asound, "default", capture=way) in _THERE for way in (True, False))
    if not (captures or plays):
        return []
    return [_named("default", "ALSA's default", "" if captures and plays else "Input" if captures else "Output")]


def _named(pcm: str, name: str, way: str) -> DeviceInfo:
    return DeviceInfo(
        pcm=pcm,
        name=name,
        input_channels=0 if way == "Output" else PLUGIN_CHANNELS,
        output_channels=0 if way == "Input" else PLUGIN_CHANNELS,
        default=pcm == "default",
    )


# ---- cards -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one direction of a device does without conversion."""

    channels: int = PLUGIN_CHANNELS
    rates_hz: tuple[int, ...] = ()


class Cards:
    """The cards with what their hardware can do. Keeps what it found out of a card until that is pulled."""

    def __init__(self, asound: Any) -> None:
        self._asound = asound
        self._known: dict[tuple[Plugging, bool], Hardware] = {}

    def devices(self) -> list[DeviceInfo]:
        """Every device of every card, in the kernel's order."""
        there = card_devices()
        pluggings = {device.plugged for device in there}
        self._known = {key: hardware for key, hardware in self._known.items() if key[0] in pluggings}
        return [self._info(device) for device in there]

    def _info(self, device: CardDevice) -> DeviceInfo:
        captures = self._hardware(device, capture=True) if device.captures else Hardware(0)
        plays = self._hardware(device, capture=False) if device.plays else Hardware(0)
        return DeviceInfo(
            pcm=f"plughw:CARD={device.card_id}{device.suffix}",
            name=device.name,
            card_id=device.card_id,
            card_index=device.card_index,
            input_channels=captures.channels,
            output_channels=plays.channels,
            rates_hz=tuple(sorted({*captures.rates_hz, *plays.rates_hz})),
            busy=device.held_by_others,
        )

    def _hardware(self, device: CardDevice, *, capture: bool) -> Hardware:
        """USB cards tell it in /proc/asound; the others are opened for a moment, once after each plugging in, and
        only while nobody has them open."""
        if rates := device.rates_hz(USUAL_RATES_HZ):
            return Hardware(device.channels("Capture" if capture else "Playback") or PLUGIN_CHANNELS, rates)
        key = (device.plugged, capture)
        if key not in self._known and not device.holders and self._asound is not None:
            found = _asked(self._asound, f"hw:CARD={device.card_id}{device.suffix}", capture=capture)
            if found:
                self._known[key] = found
        return self._known.get(key, Hardware())


def _asked(asound: Any, pcm: str, *, capture: bool) -> Hardware | None:
    """What the driver allows; None when it cannot be opened now."""
    with _opened(asound, pcm, capture=capture) as (handle, code):
        if code:
            return None
        params = ctypes.create_string_buffer(asound.snd_pcm_hw_params_sizeof())
        if asound.snd_pcm_hw_params_any(handle, params) < 0:
            return None
        most = ctypes.c_uint()
        asound.snd_pcm_hw_params_get_channels_max(params, ctypes.byref(most))
        rates = [rate for rate in USUAL_RATES_HZ if asound.snd_pcm_hw_params_test_rate(handle, params, rate, 0) == 0]
        return Hardware(most.value or PLUGIN_CHANNELS, tuple(rates))


def try_open(asound: Any, pcm: str, *, capture: bool) -> int:
    """Open and close a PCM without waiting; 0 or the errno that stands against it."""
    with _opened(asound, pcm, capture=capture) as (_, code):
        return code


def try_format(asound: Any, pcm: str, *, capture: bool, rate_hz: int, channels: int) -> tuple[int, bool]:
    """What `try_open` says; and, where that is 0, whether it takes that rate with so many channels.

    A `plug` takes everything, and is not asked: to go through all that it could convert is work for a small board.
    """
    with _opened(asound, pcm, capture=capture) as (handle, code):
        if code:
            return code, False
        if asound.snd_pcm_type(handle) == _PLUG:
            return 0, True
        params = ctypes.create_string_buffer(asound.snd_pcm_hw_params_sizeof())
        takes = (
            asound.snd_pcm_hw_params_any(handle, params) >= 0
            and asound.snd_pcm_hw_params_set_channels(handle, params, channels) == 0
            and asound.snd_pcm_hw_params_test_rate(handle, params, rate_hz, 0) == 0
        )
        return 0, takes


@contextlib.contextmanager
def _opened(asound: Any, pcm: str, *, capture: bool) -> Iterator[tuple[ctypes.c_void_p, int]]:
    """The PCM's handle, and 0 or an errno (the handle is nothing then)."""
    handle = ctypes.c_void_p()
    code = int(asound.snd_pcm_open(ctypes.byref(handle), pcm.encode(), _CAPTURE if capture else 0, _NONBLOCK))
    try:
        yield handle, max(0, -code)
    finally:
        if code >= 0:
            asound.snd_pcm_close(handle)


_libc = ctypes.CDLL(None)
