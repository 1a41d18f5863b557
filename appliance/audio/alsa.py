"""What libasound and the kernel know of sound devices, asked directly: PortAudio's own list freezes when it starts.

Its chatter on standard error is caught here too, and told as the detail of an error instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.ports import DeviceInfo

ASOUND: Final = Path("/proc/asound")
KEPT_MESSAGES: Final = 8  # of libasound's complaints; one failed open makes two or three
PLUGIN_CHANNELS: Final = 2  # a named PCM converts: what is behind it is not known without opening it

_INTERNAL: Final = re.compile(
    r"^(null|lavrate|samplerate|speexrate|jack|oss|speex|upmix|vdownmix|hw|plughw|sysdefault|front|rear|center_lfe|side"
    r"|surround\d+|iec958|spdif|hdmi|modem|phoneline|usbstream|dmix|dsnoop|dsp)(:|$)"
)
"""Names that ALSA's own configuration brings, which nobody means to paste; cards are listed as plughw:CARD=…."""

_ERROR_HANDLER: Final = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p
)

_messages: deque[str] = deque(maxlen=KEPT_MESSAGES)


@_ERROR_HANDLER  # type: ignore[untyped-decorator]
def _remember(file: bytes, line: int, function: bytes, error: int, format_: bytes, argument: int) -> None:
    """libasound's error handler. The text is a printf format; its first argument is filled in where it is a string."""
    text = (format_ or b"").decode(errors="replace")
    if "%s" in text and argument:
        with contextlib.suppress(ValueError):
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
    asound.snd_device_name_get_hint.restype = ctypes.c_void_p
    asound.snd_device_name_get_hint.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return asound


def cards() -> list[DeviceInfo]:
    """Every sound card's devices, in the kernel's order; rates where the kernel tells them (USB)."""
    found: list[DeviceInfo] = []
    for folder in sorted(ASOUND.glob("card[0-9]*"), key=lambda path: int(path.name.removeprefix("card"))):
        card_id = _read(folder / "id").strip()
        if card_id:
            found += _devices(folder, card_id)
    return found


def _devices(folder: Path, card_id: str) -> Iterator[DeviceInfo]:
    numbers = sorted({int(path.name[3:-1]) for path in folder.glob("pcm[0-9]*[cp]")})
    stream = _read(folder / "stream0")
    for number in numbers:
        capture, playback = (folder / f"pcm{number}{way}" for way in "cp")
        suffix = f",DEV={number}" if number else ""
        yield DeviceInfo(
            pcm=f"plughw:CARD={card_id}{suffix}",
            name=_long_name(folder) or card_id,
            card_id=card_id,
            card_index=int(folder.name.removeprefix("card")),
            input_channels=_channels(stream, "Capture") if capture.exists() else 0,
            output_channels=_channels(stream, "Playback") if playback.exists() else 0,
            rates_hz=_rates(stream),
            busy=_holder([path for path in (capture, playback) if path.exists()]),
        )


def _long_name(folder: Path) -> str:
    """The card's short name in /proc/asound/cards: `0 [Device ]: USB-Audio - USB Audio Device`."""
    number = folder.name.removeprefix("card")
    found = re.search(rf"^ *{number} \[.*?\]: .*? - (.*)$", _read(ASOUND / "cards"), re.MULTILINE)
    return found[1].strip() if found else ""


def _channels(stream: str, way: str) -> int:
    section = stream.partition(f"{way}:")[2].partition("Playback:" if way == "Capture" else "Capture:")[0]
    counts = [int(count) for count in re.findall(r"Channels: (\d+)", section)]
    return max(counts, default=PLUGIN_CHANNELS)


def _rates(stream: str) -> tuple[int, ...]:
    rates = {int(rate) for line in re.findall(r"Rates: ([\d, ]+)", stream) for rate in re.findall(r"\d+", line)}
    return tuple(sorted(rates))


def try_open(asound: Any, pcm: str, *, capture: bool) -> int:
    """Open and close a PCM without waiting; 0 or the errno that stands against it."""
    handle = ctypes.c_void_p()
    nonblocking = 1
    code = int(asound.snd_pcm_open(ctypes.byref(handle), pcm.encode(), int(capture), nonblocking))
    if code >= 0:
        asound.snd_pcm_close(handle)
    return max(0, -code)


def holder(pcm_card_id: str) -> str:
    """Who holds the card of that id, in words; empty when nobody does or it is not there."""
    return next((info.busy for info in cards() if info.card_id == pcm_card_id and info.busy), "")


def _holder(folders: list[Path]) -> str:
    for status in (file for folder in folders for file in sorted(folder.glob("sub*/status"))):
        found = re.search(r"owner_pid\s*: (\d+)", _read(status))
        if found:
            return f"{_read(Path('/proc') / found[1] / 'comm').strip() or 'a program'} (pid {found[1]})"
    return ""


def named_pcms(asound: Any) -> list[DeviceInfo]:
    """PCMs of the ALSA configuration (asound.conf) that carry a hint, `default` first."""
    hints = ctypes.POINTER(ctypes.c_void_p)()
    if asound.snd_device_name_hint(-1, b"pcm", ctypes.byref(hints)) < 0:
        return []
    found = []
    try:
        for hint in iter(hints):  # ends at NULL
            if not hint:
                break
            name = _hint(asound, hint, b"NAME")
            if name and not _INTERNAL.match(name) and "CARD=" not in name:
                found.append(_named(name, _hint(asound, hint, b"DESC"), _hint(asound, hint, b"IOID")))
    finally:
        asound.snd_device_name_free_hint(hints)
    return sorted(found, key=lambda info: not info.default)


def _named(name: str, description: str, way: str) -> DeviceInfo:
    return DeviceInfo(
        pcm=name,
        name=description.replace("\n", ", ") or name,
        input_channels=0 if way == "Output" else PLUGIN_CHANNELS,
        output_channels=0 if way == "Input" else PLUGIN_CHANNELS,
        default=name == "default",
    )


def _hint(asound: Any, hint: int, key: bytes) -> str:
    text = asound.snd_device_name_get_hint(hint, key)
    if not text:
        return ""
    try:
        return (ctypes.c_char_p(text).value or b"").decode(errors="replace")
    finally:
        _libc.free(ctypes.c_void_p(text))


_libc = ctypes.CDLL(None)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
