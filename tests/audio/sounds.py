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


def distortion_db(samples: Samples, rate_hz: int = RATE_HZ) -> float:
    """THD+N of a sine: what is left when the best fitting one is taken away, in dB of it."""
    sound = samples.astype(float)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 8 * sound.size))
    hz = float(np.argmax(spectrum)) * rate_hz / (8 * sound.size)
    time_s = (np.arange(sound.size) - sound.size / 2) / rate_hz
    for _ in range(5):  # Newton's steps towards its true frequency; a speaker's clock is part of it
        phase = 2 * np.pi * hz * time_s
        sine, cosine = np.sin(phase), np.cos(phase)
        fit = np.stack([sine, cosine, np.ones_like(sine)], axis=1)
        weights = np.linalg.lstsq(fit, sound, rcond=None)[0]
        slope = time_s * (weights[0] * cosine - weights[1] * sine)
        hz += np.linalg.lstsq(np.column_stack([fit, slope]), sound, rcond=None)[0][3] / (2 * np.pi)
    residue = sound - fit @ weights
    return decibels(float(np.sqrt(np.mean(residue**2)) / (np.hypot(weights[0], weights[1]) / np.sqrt(2))))
