"""Speakers at other rates, behind ALSA's converters, through the real PortAudio: a tone keeps its pitch and level."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest

from appliance.audio.config import AudioConfig
from appliance.audio.mixer import AudioMixer
from appliance.audio.output_handler import AudioOutputHandler
from appliance.audio.portaudio import PortAudioBackend
from appliance.clock import SystemClock
from appliance.ports import Samples
from tests.harness.oddsound import defined, talking
from tests.harness.processes import going_first
from tests.harness.signals import RATE_HZ, level_dbfs, tone
from tests.harness.sound import SoundStation, VirtualSound

pytestmark = [pytest.mark.device, pytest.mark.slow]

HZ: Final = 1000.0
LEVEL_DBFS: Final = -12.0
HEARD_S: Final = 1.0


RATES_HZ: Final = (8000, 16000, 44100, 96000)

_names = itertools.count()


@contextlib.contextmanager
def odd(sound: VirtualSound, words: str) -> Iterator[str]:
    """The ALSA name of a device that is made like that."""
    name = f"odd_{next(_names)}"
    with defined(sound, f"pcm.{name} {{ {words} }}"):
        yield name


@pytest.fixture
def station(sound: VirtualSound) -> SoundStation:
    return sound.station("garden")


def judged(heard: Samples) -> tuple[float, float]:
    """Pitch (Hz) of the loudest tone, and the level of ours in the tenth of a second that was disturbed least."""
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
    tenths = [level_dbfs(heard[at : at + RATE_HZ // 10], HZ) for at in range(0, heard.size - RATE_HZ // 10, 1200)]
    return float(np.argmax(spectrum)) * RATE_HZ / heard.size, max(tenths)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_what_comes_is_played_at_its_pitch_and_level(sound: VirtualSound, station: SoundStation, rate_hz: int) -> None:
    mixer = AudioMixer()
    words = f"type plug slave {{ pcm {station.speaker_pcm} format S16_LE rate {rate_hz} channels 1 }}"
    with odd(sound, words) as name, going_first(), talking(mixer, tone(HZ, 1.0, LEVEL_DBFS)):
        config = AudioConfig(output_device=name)
        handler = AudioOutputHandler(config=config, backend=PortAudioBackend(), clock=SystemClock(), source=mixer)
        with contextlib.closing(handler):
            handler.open()
            with sound.tape() as tape:
                tape.wait(HEARD_S + 0.8)
                heard = tape.ear(station.name)[-round(HEARD_S * RATE_HZ) :]
            assert handler.get_metrics()["errors"] == 0
    hz, dbfs = judged(heard)
    assert hz == pytest.approx(HZ, abs=2)
    assert dbfs == pytest.approx(LEVEL_DBFS, abs=0.7)
