"""Sounds to send through the parts, and ears to tell what came out."""

from __future__ import annotations

import numpy as np

from appliance.ports import Samples

RATE_HZ = 48000
FRAME = 480


def tone(hz: float, seconds: float, *, amplitude: float = 8000, rate_hz: int = RATE_HZ) -> Samples:
    """A sine, int16."""
    phase = 2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz
    return np.round(amplitude * np.sin(phase)).astype(np.int16)


def noise(seed: int, size: int, amplitude: int = 8000) -> Samples:
    """White noise, uniform up to the amplitude."""
    return np.random.default_rng(seed).integers(-amplitude, amplitude + 1, size).astype(np.int16)


def amplitude_at(samples: Samples, hz: float, rate_hz: int = RATE_HZ) -> float:
    """Amplitude of one frequency."""
    wave = np.exp(-2j * np.pi * hz * np.arange(samples.size) / rate_hz)
    return float(2 * abs(np.dot(samples.astype(float), wave)) / samples.size)


def decibels(ratio: float) -> float:
    """An amplitude ratio in dB."""
    return float(20 * np.log10(ratio))


def roughness(samples: Samples) -> float:
    """Largest change of slope from one sample to the next: a click stands out, a tone does not."""
    return float(np.abs(np.diff(samples.astype(float), 2)).max())
