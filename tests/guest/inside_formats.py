"""Run in the guest: PCMs of the test's own asound.conf, opened by alto's handlers, judged by their tone."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np

from appliance.audio.config import AudioConfig
from appliance.audio.input_handler import AudioInputHandler
from appliance.audio.mixer import AudioMixer
from appliance.audio.output_handler import AudioOutputHandler
from appliance.audio.portaudio import PortAudioBackend
from appliance.clock import SystemClock
from appliance.ports import Samples
from tests.guest.inside import PATIENCE_S, Ear, Mouth, failure, open_by, opened
from tests.harness.oddsound import talking
from tests.harness.signals import RATE_HZ, level_dbfs, tone
from tests.harness.wait import until

ASOUND_CONF: Final = Path("/run/tmp/asound.conf")
ALSA_CONF: Final = Path("/run/tmp/alsa.conf")
FRAME: Final = RATE_HZ // 100


def configure(text: str) -> None:
    """What libasound reads from now on: ALSA's own configuration and, from another file as in life, these lines."""
    ASOUND_CONF.write_text(text + "\n")
    if not ALSA_CONF.exists():
        ALSA_CONF.write_text(f"</usr/share/alsa/alsa.conf>\n<{ASOUND_CONF}>\n")
    os.environ["ALSA_CONFIG_PATH"] = str(ALSA_CONF)


def call_through(asound: str, speaker: str, microphone: str, hz: float) -> dict[str, Any]:
    """A voice through mixer and speaker, over the loopback cable, into the microphone: what the network would get."""
    configure(asound)
    backend, clock = PortAudioBackend(), SystemClock()
    config = AudioConfig(input_device=microphone, output_device=speaker)
    mixer = AudioMixer()
    output = AudioOutputHandler(config=config, backend=backend, clock=clock, source=mixer)
    microphone_handler = AudioInputHandler(config=config, backend=backend, clock=clock)
    with talking(mixer, tone(hz)), contextlib.closing(output), contextlib.closing(microphone_handler):
        output.open()
        microphone_handler.open()
        heard = _heard(microphone_handler, 1.6)[-RATE_HZ:]  # the beginning is the jitter buffer's
        streams = {"out": output.stream, "inp": microphone_handler.stream}
        opened_as = {way: [one.pcm, one.rate_hz, one.channels] for way, one in streams.items() if one is not None}
        errors = [output.get_metrics()["errors"], microphone_handler.get_metrics()["errors"]]
    return {**opened_as, **_judged(heard, hz), "errors": errors}


def _heard(handler: AudioInputHandler, seconds: float) -> Samples:
    frames: list[Samples] = []
    out = np.empty(FRAME, np.int16)

    def enough() -> bool:
        while handler.frames.take(out):
            frames.append(out.copy())
        return len(frames) >= seconds * 100

    until(enough, PATIENCE_S + seconds, "the microphone's frames")
    return np.concatenate(frames)


def _judged(heard: Samples, hz: float) -> dict[str, float]:
    """Pitch of the loudest tone, and the level of ours in the tenth of a second that a busy machine disturbed least."""
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
    tenths = [level_dbfs(heard[at : at + RATE_HZ // 10], hz) for at in range(0, heard.size, RATE_HZ // 10)]
    return {"hz": float(np.argmax(spectrum)) * RATE_HZ / heard.size, "dbfs": max(tenths)}


SAMPLES: Final = {
    "S16_LE": ("<i2", 32768),
    "S24_LE": ("<i4", 1 << 23),
    "S32_LE": ("<i4", 1 << 31),
    "FLOAT_LE": ("<f4", 1),
}
"""ALSA's format: (numpy's, full scale); S24_3LE is S32_LE without each sample's lowest byte."""


def strict_by_the_cable(
    rate_hz: int, channels: int, hz: float, format_: str = "S16_LE", plugin: str = "hw"
) -> dict[str, Any]:
    """A loopback card runs at what the other end of its cable runs at: another program plays there first."""
    wave = Path("/run/tmp/tone.raw")
    mono = np.sin(2 * np.pi * hz / rate_hz * np.arange(rate_hz)) / 4
    wave.write_bytes(_raw(np.repeat(mono[:, None], channels, axis=1), format_) * 8)
    command = ["aplay", "-q", "-D", "hw:CARD=Kitchen,DEV=0", "-t", "raw", "-f", format_]
    player = subprocess.Popen([*command, "-r", str(rate_hz), "-c", str(channels), str(wave)])
    config = AudioConfig(input_device=f"{plugin}:CARD=Kitchen,DEV=1")
    handler = AudioInputHandler(config=config, backend=PortAudioBackend(), clock=SystemClock())
    try:
        until(lambda: "RUNNING" in Path("/proc/asound/Kitchen/pcm0p/sub0/status").read_text(), PATIENCE_S, "aplay")
        with contextlib.closing(handler):
            handler.open()
            heard = _heard(handler, 1.5)[-RATE_HZ:]
            stream = handler.stream
            assert stream is not None
            return {"rate_hz": stream.rate_hz, "channels": stream.channels, **_judged(heard, hz)}
    finally:
        player.kill()
        player.wait()


def _raw(unit: np.ndarray[Any, np.dtype[np.float64]], format_: str) -> bytes:
    """Samples from -1.0 to 1.0 as ALSA wants them in that format."""
    if format_ == "S24_3LE":
        return np.frombuffer(_raw(unit, "S32_LE"), np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    kind, scale = SAMPLES[format_]
    return (unit * scale).astype(kind).tobytes()


def names(asound: str) -> list[dict[str, Any]]:
    """What `alto devices` lists of that configuration."""
    configure(asound)
    return _listed(PortAudioBackend())


def edited(before: str, after: str, name: str) -> dict[str, Any]:
    """asound.conf is edited under a running station, which then opens what is new in it."""
    configure(before)
    backend, mouth = PortAudioBackend(), Mouth(440)
    with contextlib.closing(opened("speaker" if "speaker" in before else "Loopback", "output", mouth)):
        first, missing = _listed(backend), failure(lambda: opened(name, "input", Ear()).close())
        configure(after)
        second, found = _listed(backend), open_by(name, "input")
        until(lambda: _listed(backend) and mouth.blocks > 50, PATIENCE_S, "the speaker to play on")
    return {"before": first, "missing": missing, "after": second, "opened": found, "played": mouth.blocks}


def _listed(backend: PortAudioBackend) -> list[dict[str, Any]]:
    fields = ("pcm", "name", "input_channels", "output_channels", "default")
    return [{field: getattr(info, field) for field in fields} for info in backend.devices()]
