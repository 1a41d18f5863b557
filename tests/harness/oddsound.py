"""Sound devices with a quirk, made of a virtual one while the test runs, and gone after it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Final

from appliance.ports import Samples, VoiceSink
from tests.harness.beside import beside
from tests.harness.sound import RATE_HZ, SoundStation, VirtualSound

PACTL_S: Final = 10.0
TICK_S: Final = 0.005


@contextlib.contextmanager
def defined(sound: VirtualSound, lines: str) -> Iterator[None]:
    """These lines stand in asound.conf; alto reads it again whenever it lists or opens a device."""
    path = sound.directory / "asound.conf"
    before = path.read_text()
    path.write_text(f"{before}{lines}\n")
    try:
        yield
    finally:
        path.write_text(before)


@contextlib.contextmanager
def looped(sound: VirtualSound, station: SoundStation) -> Iterator[str]:
    """The ALSA name of a microphone that hears what that station's speaker plays: a cable without length."""
    name = f"{station.name}_loop"
    arguments = ("channels=1", "channel_map=mono", "remix=no", f"master_channel_map=aux{station.ear_channel}")
    module = _pactl(
        sound, "load-module", "module-remap-source", f"source_name={name}", "master=cable.monitor", *arguments
    )
    pcm = f'pcm.{name} {{ type pulse server "{sound.env["PULSE_SERVER"]}" device "{name}" }}'
    try:
        with defined(sound, pcm):
            yield name
    finally:
        _pactl(sound, "unload-module", module)


def _pactl(sound: VirtualSound, *words: str) -> str:
    done = subprocess.run(
        ["pactl", *words], env={**os.environ, **sound.env}, capture_output=True, text=True, timeout=PACTL_S, check=True
    )
    return done.stdout.strip()


def talking(mixer: VoiceSink, voice: Samples) -> contextlib.AbstractContextManager[None]:
    """Somebody says that over and over, 10 ms after 10 ms. `voice`: int16 at 48 kHz, whole frames."""
    frames = voice.reshape(-1, RATE_HZ // 100)

    def talk(over: threading.Event) -> None:
        began, said = time.monotonic(), 0
        while not over.wait(TICK_S):
            while said < (time.monotonic() - began) * 100:
                mixer.add_audio_data(frames[said % len(frames)], "bob")
                said += 1

    return beside(talk)
