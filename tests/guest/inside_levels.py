"""Run in the guest: volume controls of the kernel's dummy card, set by alto and read back by libasound."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any, Final

from appliance.audio import alsa
from appliance.audio.config import AudioConfig, HardwareLevel
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.level import controls, opened_mixer
from appliance.audio.portaudio import PortAudioBackend
from appliance.clock import SystemClock
from appliance.errors import AltoError
from appliance.ports import Direction

CARD: Final = "plughw:CARD=Dummy"


def set_level(direction: str, control: str, level: str) -> dict[str, Any]:
    """What the card says afterwards."""
    PortAudioBackend().set_level(CARD, Direction(direction), control, level)
    return read(direction, control)


def refused(direction: str, control: str, level: str) -> dict[str, Any]:
    """The error that a person gets."""
    try:
        PortAudioBackend().set_level(CARD, Direction(direction), control, level)
    except AltoError as error:
        return {"kind": type(error).__name__, "message": error.message, "fix": error.fix}
    return {}


def set_at_each_open(control: str, level: str, other: str) -> list[int]:
    """A microphone is opened, its level is moved by somebody, it is opened again; the level after each."""
    config = AudioConfig(input_device=CARD, input_control=HardwareLevel(control, level))
    microphone = AudioInputHandler(config=config, backend=PortAudioBackend(), clock=SystemClock())
    with contextlib.closing(microphone):
        microphone.open()
        levels = [read("input", control)["volume"], set_level("input", control, other)["volume"]]
        microphone.open()
        return [*levels, read("input", control)["volume"]]


def read(direction: str, control: str) -> dict[str, Any]:
    """The first channel's volume, its range, and its switch (None: it has none)."""
    asound, way = alsa.library(), {"input": "capture", "output": "playback"}[direction]
    with opened_mixer(asound, CARD) as mixer:
        element = dict(controls(asound, mixer, Direction(direction)))[control]
        volume, least, most, on = ctypes.c_long(), ctypes.c_long(), ctypes.c_long(), ctypes.c_int()
        getattr(asound, f"snd_mixer_selem_get_{way}_volume")(element, 0, ctypes.byref(volume))
        getattr(asound, f"snd_mixer_selem_get_{way}_volume_range")(element, ctypes.byref(least), ctypes.byref(most))
        switches = getattr(asound, f"snd_mixer_selem_has_{way}_switch")(element)
        getattr(asound, f"snd_mixer_selem_get_{way}_switch")(element, 0, ctypes.byref(on))
        return {"volume": volume.value, "range": [least.value, most.value], "on": bool(on.value) if switches else None}
