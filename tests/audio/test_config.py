"""AudioConfig: the description's fields, and no number that the parts cannot run with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audio.config import RATES_HZ, AudioConfig, AudioConfigInvalid
from appliance.audio.mixer import AudioMixer
from appliance.ports import Direction


def test_the_description_s_own_configuration_is_taken() -> None:
    config = AudioConfig(
        sample_rate=48000,
        num_channels=1,
        samples_per_channel=2400,
        input_device=None,
        output_device=None,
        volume=1.0,
        no_playback=False,
    )
    assert [config.block_s(way) for way in Direction] == [0.05, 0.05]
    assert config.frame_samples == 480


def test_nobody_changes_a_configuration_that_is_in_use() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AudioConfig().volume = 2.0  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    block=st.integers(16, 4000),
    volume=st.floats(0.0, 4.0),
    mix=st.sampled_from(["average", "sum"]),
    playout_ms=st.integers(10, 200),
)
def test_whatever_it_accepts_a_mixer_runs_with(
    rate_hz: int, block: int, volume: float, mix: str, playout_ms: int
) -> None:
    config = AudioConfig(sample_rate=rate_hz, samples_per_channel=block, volume=volume, mix=mix, playout_ms=playout_ms)
    mixer = AudioMixer(config.sample_rate, volume=config.volume, mix=config.mix, playout_ms=config.playout_ms)
    for _ in range(60):
        mixer.add_audio_data(np.full(config.frame_samples, 1000, np.int16))
    heard = mixer.get_audio_data(block)
    assert heard.shape == (block,)
    assert mixer.errors == 0
    assert heard.any() or volume < 0.01


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sample_rate", 44100),
        ("sample_rate", 0),
        ("num_channels", 2),
        ("samples_per_channel", 0),
        ("samples_per_channel", 48001),
        ("output_samples_per_channel", 0),
        ("volume", -0.1),
        ("volume", 4.1),
        ("volume", float("nan")),
        ("input_volume", 5.0),
        ("mix", "median"),
        ("playout_ms", 9),
        ("max_streams", 0),
    ],
)
def test_a_number_that_native_code_would_abort_on_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(AudioConfigInvalid, match=field) as caught:
        AudioConfig(**{field: value})  # type: ignore[arg-type]
    assert caught.value.fix
