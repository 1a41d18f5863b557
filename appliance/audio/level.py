"""Volume controls of sound cards: set by name, whenever the device is opened.

By libasound itself, as `alsa.py` asks it: `amixer` is in another package, which small systems lack, and would be a
process for each open.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any, Final

from appliance.audio.devices import card_address
from appliance.errors import AudioError, ControlMissing
from appliance.ports import Direction

NEAREST: Final = 0  # snd_mixer_selem_set_…_dB: to the exact step or the one below
WAYS: Final = {Direction.INPUT: "capture", Direction.OUTPUT: "playback"}


def set_level(asound: Any, pcm: str, direction: Direction, control: str, level: str) -> None:
    """See `ports.AudioBackend.set_level`. Blocks for some milliseconds."""
    with opened_mixer(asound, pcm) as mixer:
        there = dict(controls(asound, mixer, direction))
        if control not in there:
            raise ControlMissing(
                f"{pcm!r} has no {direction} control {control!r}",
                fix=f"use one of: {', '.join(there)}" if there else "this card has none: leave mixer away",
            )
        element = _Element(asound, there[control], WAYS[direction])
        if level.endswith("dB"):
            element.set_db(pcm, control, float(level.removesuffix("dB")))
        else:
            element.set_share(int(level.removesuffix("%")) / 100)
        element.switch_on()


class _Element:
    """One control, in one direction."""

    def __init__(self, asound: Any, handle: ctypes.c_void_p, way: str) -> None:
        self._asound, self._handle, self._way = asound, handle, way

    def _call(self, name: str, *arguments: Any) -> int:
        function = getattr(self._asound, "snd_mixer_selem_" + name.replace("WAY", self._way))
        return int(function(self._handle, *arguments))

    def _range(self, name: str) -> tuple[int, int]:
        least, most = ctypes.c_long(), ctypes.c_long()
        if self._call(name, ctypes.byref(least), ctypes.byref(most)) < 0:
            return 0, 0
        return least.value, most.value

    def set_share(self, share: float) -> None:
        least, most = self._range("get_WAY_volume_range")
        self._checked(self._call("set_WAY_volume_all", ctypes.c_long(round(least + share * (most - least)))))

    def set_db(self, pcm: str, control: str, db: float) -> None:
        least, most = self._range("get_WAY_dB_range")
        if not least <= round(100 * db) <= most or least == most:
            offers = f"{least / 100:g}dB to {most / 100:g}dB" if least < most else "no decibels"
            raise ControlMissing(f"{pcm!r}: {control!r} has {offers}, not {db:g}dB", fix="use a level such as 70%")
        self._checked(self._call("set_WAY_dB_all", ctypes.c_long(round(100 * db)), NEAREST))

    def switch_on(self) -> None:
        if self._call("has_WAY_switch"):
            self._call("set_WAY_switch_all", 1)

    def _checked(self, code: int) -> None:
        if code < 0:
            raise AudioError(f"the volume control cannot be set (ALSA's error {-code})", fix="see alsamixer")


@contextlib.contextmanager
def opened_mixer(asound: Any, pcm: str) -> Iterator[ctypes.c_void_p]:
    """The mixer of the card behind a PCM; of a PCM that is not a card, what ALSA calls by the same name."""
    address, mixer = card_address(pcm), ctypes.c_void_p()
    name = f"hw:{address.card}" if address else pcm
    if asound.snd_mixer_open(ctypes.byref(mixer), 0) < 0:
        raise AudioError("ALSA gives no mixer")
    try:
        if (
            asound.snd_mixer_attach(mixer, name.encode()) < 0
            or asound.snd_mixer_selem_register(mixer, None, None) < 0
            or asound.snd_mixer_load(mixer) < 0
        ):
            raise ControlMissing(f"{pcm!r} has no mixer", fix="leave mixer away, or name the card: see alto devices")
        yield mixer
    finally:
        asound.snd_mixer_close(mixer)


def controls(asound: Any, mixer: ctypes.c_void_p, direction: Direction) -> Iterator[tuple[str, ctypes.c_void_p]]:
    """Names of the controls with a volume in that direction, and what they are."""
    has_volume = getattr(asound, f"snd_mixer_selem_has_{WAYS[direction]}_volume")
    at = _pointer(asound.snd_mixer_first_elem, mixer)
    while at:
        if has_volume(at):
            name = ctypes.c_char_p(_pointer(asound.snd_mixer_selem_get_name, at).value).value or b""
            yield name.decode(errors="replace"), at
        at = _pointer(asound.snd_mixer_elem_next, at)


def _pointer(function: Any, argument: ctypes.c_void_p) -> ctypes.c_void_p:
    function.restype = ctypes.c_void_p
    return ctypes.c_void_p(function(argument))
